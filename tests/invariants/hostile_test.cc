// SPDX-License-Identifier: Apache-2.0
// Files of every format that claim absurd sizes are refused in one line, and what they claim is
// never allocated: the process's peak memory hardly moves.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <span>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "io/test_images.h"
#include "io/test_torch.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

constexpr int64_t kHuge = int64_t{1} << 60;

int64_t PeakKilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void ExpectSmallRefusal(const std::string& path) {
  SCOPED_TRACE(path);
  const int64_t before = PeakKilobytes();
  try {
    Harness harness(path);
    ADD_FAILURE() << "it was loaded";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_NE(message.find(path), std::string::npos) << message;
  }
  EXPECT_LT(PeakKilobytes() - before, 16 * 1024);
}

class Hostile : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteHuggingFace(MakeTinyModel(TinyConfig(), 1), dir_ / "m", DType::kF32);
  }
  void Write(const std::string& name, std::string_view text) {
    WriteFileAtomically(dir_ / ("m/" + name), std::as_bytes(std::span(text)));
  }
  void Write(const std::string& name, const test::Image& image) {
    WriteFileAtomically(dir_ / ("m/" + name), image);
  }
  TempDir dir_;
};

TEST_F(Hostile, Safetensors) {
  const std::string header = R"({"w":{"dtype":"F32","shape":[1152921504606846976,4],)"
                             R"("data_offsets":[0,8]}})";
  Write("model.safetensors", test::SafetensorsImage(header, 8));
  ExpectSmallRefusal(dir_ / "m");
  test::Image image = test::SafetensorsImage("{}", 0);
  image[7] = std::byte{0x10};  // the header's length
  Write("model.safetensors", image);
  ExpectSmallRefusal(dir_ / "m");
}

TEST_F(Hostile, ConfigOfAGiant) {
  Write("config.json", R"({"model_type":"mixtral","hidden_size":1048576,"num_hidden_layers":1024,
    "intermediate_size":1048576,"num_attention_heads":1024,"num_key_value_heads":1024,
    "vocab_size":1048576,"num_local_experts":1024,"num_experts_per_tok":1024,
    "max_position_embeddings":16777216})");
  ExpectSmallRefusal(dir_ / "m");
}

TEST_F(Hostile, PackedWeights) {
  Json config = Json::Parse(ReadTextFile(dir_ / "m/config.json"), "config.json");
  config.Set("quantization_config",
             Json::Object().Set("quant_method", "gptq").Set("bits", 4).Set("group_size", 1));
  Write("config.json", config.Dump());
  const std::string header = R"({"m.qweight":{"dtype":"I32","shape":[0,1152921504606846976],)"
                             R"("data_offsets":[0,0]}})";
  Write("model.safetensors", test::SafetensorsImage(header, 0));
  ExpectSmallRefusal(dir_ / "m");
}

TEST_F(Hostile, Gguf) {
  const auto expect = [&](const test::GgufImage& image) {
    Write("hostile.gguf", image.Build());
    ExpectSmallRefusal(dir_ / "m/hostile.gguf");
  };
  test::GgufImage image;
  image.String("general.architecture", "llama");
  for (int64_t* claim : {&image.claimed_tensors, &image.claimed_pairs}) {
    *claim = kHuge;
    expect(image);
    *claim = -1;
  }
  expect(test::GgufImage().ArrayHead("tokenizer.ggml.tokens", 8, kHuge));
  expect(test::GgufImage().ArrayHead("a", 4, kHuge));
  expect(test::GgufImage().Tensor("t", {uint64_t{1} << 58}, 0, 32));
}

TEST_F(Hostile, PyTorch) {
  std::filesystem::remove(dir_ / "m/model.safetensors");
  const auto expect = [&](const std::string& image) {
    Write("consolidated.00.pth", image);
    ExpectSmallRefusal(dir_ / "m");
  };
  const std::string bytes(16, 'x');
  expect(test::TorchImage({{"w", "FloatStorage", {kHuge}, bytes}}));
  expect(test::TorchImage({{"w", "FloatStorage", {kHuge}, bytes, {}, 0, kHuge}}));
  expect(test::TorchImage({{"w", "FloatStorage", {4}, bytes, {}, kHuge, -1}}));
  for (const bool is_size : {false, true}) {
    test::ZipImage zip;
    test::ZipLie lie;
    lie.zip64 = true;
    (is_size ? lie.size : lie.offset) = kHuge;
    zip.Add("a/data.pkl", "\x80\x02}.", lie);
    expect(zip.Build());
  }
  test::ZipImage entries;
  entries.Add("a/data.pkl", "\x80\x02}.");
  entries.claimed_entries = kHuge;
  expect(entries.Build());
  test::PickleImage pickle;  // a text of 4 GB
  test::ZipImage text;
  text.Add("a/data.pkl", pickle.Op("X\xFF\xFF\xFF\xFFzz").Build());
  expect(text.Build());
}

}  // namespace
}  // namespace mixtral::testing
