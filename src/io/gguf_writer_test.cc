// SPDX-License-Identifier: Apache-2.0
// What the writer writes is what the reader reads; the reader itself is tested against files of
// another writer.
#include "io/gguf_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "base/error.h"
#include "io/gguf.h"

namespace mixtral {
namespace {

class GgufWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("gguf_writer_test_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path() const { return (folder_ / "a.gguf").string(); }
  size_t FilesInFolder() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::filesystem::path folder_;
};

std::vector<std::byte> Counted(size_t n) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

TEST_F(GgufWriterTest, ReaderFindsEverything) {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  writer.AddU32("llama.block_count", 3);
  writer.AddF32("llama.rope.freq_base", 1e6f);
  writer.AddBool("tokenizer.ggml.add_bos_token", true);
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "a", "b"});
  writer.AddF32s("tokenizer.ggml.scores", std::vector<float>{0, -1, -2});
  writer.AddI32s("tokenizer.ggml.token_type", std::vector<int32_t>{2, 1, 1});
  const std::vector<int64_t> vector = {3}, matrix = {2, 256};
  writer.Declare("norm.weight", DType::kF32, vector);  // 12 bytes: padding before the next one
  writer.Declare("ffn.weight", DType::kQ4_K, matrix);
  const auto norm = Counted(12), weights = Counted(288);
  writer.Begin(Path());
  writer.Append(norm);
  writer.Append(std::span(weights).first(100));
  writer.Append(std::span(weights).subspan(100));
  EXPECT_FALSE(std::filesystem::exists(Path()));
  writer.Finish();
  EXPECT_EQ(std::filesystem::file_size(Path()), writer.FileBytes());
  EXPECT_EQ(FilesInFolder(), 1u);

  const auto checkpoint = OpenGguf(Path());
  EXPECT_EQ(checkpoint->config().At("llama.block_count").AsInt(), 3);
  EXPECT_EQ(checkpoint->config().At("llama.rope.freq_base").AsDouble(), 1e6);
  ASSERT_NE(checkpoint->gguf_vocabulary(), nullptr);
  EXPECT_EQ(checkpoint->gguf_vocabulary()->tokens.at(2), "b");
  EXPECT_EQ(checkpoint->gguf_vocabulary()->scores.at(2), -2);
  const TensorView* view = checkpoint->Find("ffn.weight");
  ASSERT_NE(view, nullptr);
  EXPECT_EQ(view->dtype, DType::kQ4_K);
  EXPECT_EQ(view->shape[0], 2);
  EXPECT_EQ(view->shape[1], 256);
  EXPECT_TRUE(std::equal(view->bytes.begin(), view->bytes.end(), weights.begin(), weights.end()));
}

TEST_F(GgufWriterTest, EveryTypeHasItsId) {
  for (int i = 0; i < kNumMatrixDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    GgufWriter writer;
    writer.AddString("general.architecture", "llama");
    const std::vector<int64_t> shape = {1, 256};
    writer.Declare("x", dtype, shape);
    writer.Begin(Path());
    writer.Append(Counted(RowBytes(dtype, 256)));
    writer.Finish();
    EXPECT_EQ(OpenGguf(Path())->Find("x")->dtype, dtype);
  }
}

TEST_F(GgufWriterTest, AnUnfinishedFileLeavesNothing) {
  {
    GgufWriter writer;
    const std::vector<int64_t> shape = {8};
    writer.Declare("x", DType::kF32, shape);
    writer.Begin(Path());
    writer.Append(Counted(31));
    EXPECT_THROW(writer.Finish(), Error);
  }
  EXPECT_EQ(FilesInFolder(), 0u);
}

}  // namespace
}  // namespace mixtral
