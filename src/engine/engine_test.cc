// SPDX-License-Identifier: Apache-2.0
// Where the tokenizer and the end-of-sequence ids of a checkpoint come from.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace mixtral {
namespace {

/// A checkpoint without tensors: metadata alone.
class FakeCheckpoint final : public Checkpoint {
 public:
  CheckpointKind kind() const override { return kind_value; }
  const std::string& path() const override { return path_value; }
  std::vector<std::string> Names() const override { return {}; }
  const TensorView* Find(std::string_view) const override { return nullptr; }
  std::string Where(std::string_view name) const override { return std::string(name); }
  const Json& config() const override { return config_value; }
  std::optional<Json> generation_config() const override { return generation; }
  std::optional<std::string> sentencepiece_model() const override { return sentencepiece; }
  std::optional<std::string> side_file(std::string_view name) const override {
    return name == "tokenizer_config.json" ? tokenizer_config : std::nullopt;
  }
  const GgufVocabulary* gguf_vocabulary() const override {
    return vocabulary ? &*vocabulary : nullptr;
  }
  std::optional<std::string> chat_template() const override { return std::nullopt; }
  uint64_t FileBytes() const override { return 0; }

  CheckpointKind kind_value = CheckpointKind::kHuggingFace;
  std::string path_value = "the-model";
  Json config_value = Json::Object();
  std::optional<Json> generation;
  std::optional<std::string> sentencepiece;
  std::optional<std::string> tokenizer_config;
  std::optional<GgufVocabulary> vocabulary;
};

GgufVocabulary TinyVocabulary() {
  GgufVocabulary v;
  v.model = "llama";
  v.tokens = {"<unk>", "<s>", "</s>"};
  v.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    v.tokens.push_back(fmt::format("<0x{:02X}>", byte));
    v.types.push_back(6);
  }
  v.tokens.push_back("a");
  v.types.push_back(1);
  v.scores.resize(v.tokens.size());
  v.bos_id = 1;
  v.eos_id = 2;
  v.unknown_id = 0;
  return v;
}

using Ids = std::vector<TokenId>;

std::string ErrorOf(const std::function<void()>& fn, ErrorCode code) {
  try {
    fn();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "nothing was thrown";
}

TEST(FindEosIds, OneIntegerOrAList) {
  FakeCheckpoint checkpoint;
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 100), Ids());
  checkpoint.generation = Json::Parse(R"({"eos_token_id": 7})", "generation_config.json");
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 100), Ids{7});
  checkpoint.generation = Json::Parse(R"({"eos_token_id": [9, 7, 9]})", "generation_config.json");
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 100), (Ids{9, 7}));
  checkpoint.generation = Json::Parse(R"({"eos_token_id": null})", "generation_config.json");
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 100), Ids());
}

TEST(FindEosIds, OutsideTheVocabularyOrNoInteger) {
  FakeCheckpoint checkpoint;
  for (const char* bad : {"100", "-1", "1.5", "\"2\"", "[2, 100]"}) {
    checkpoint.generation =
        Json::Parse(fmt::format("{{\"eos_token_id\": {}}}", bad), "generation_config.json");
    const std::string error =
        ErrorOf([&] { FindEosIds(checkpoint, nullptr, 100); }, ErrorCode::kCorrupt);
    EXPECT_NE(error.find("$.eos_token_id"), std::string::npos) << error;
    EXPECT_NE(error.find("generation_config.json"), std::string::npos) << error;
  }
}

TEST(FindEosIds, ConfigOfHuggingFaceFoldersToo) {
  FakeCheckpoint checkpoint;
  checkpoint.config_value = Json::Parse(R"({"eos_token_id": 5})", "config.json");
  checkpoint.generation = Json::Parse(R"({"eos_token_id": 6})", "generation_config.json");
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 100), (Ids{6, 5}));
  checkpoint.kind_value = CheckpointKind::kMistral;
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 100), Ids{6});
}

TEST(FindEosIds, TokenizerAndGgufKey) {
  FakeCheckpoint checkpoint;
  checkpoint.kind_value = CheckpointKind::kGguf;
  checkpoint.vocabulary = TinyVocabulary();
  const auto tokenizer = OpenTokenizer(checkpoint);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 260);
  EXPECT_EQ(FindEosIds(checkpoint, tokenizer.get(), 260), Ids{2});
  checkpoint.vocabulary->eos_id = 4;
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 260), Ids{4});
  FakeCheckpoint folder;  // with the tokenizer alone to name it
  EXPECT_EQ(FindEosIds(folder, tokenizer.get(), 260), Ids{2});
  checkpoint.vocabulary->eos_id = -1;
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 260), Ids());
  checkpoint.vocabulary->eos_id = 260;
  EXPECT_EQ(FindEosIds(checkpoint, nullptr, 260), Ids());
}

TEST(FindEosIds, TheTokenThatTokenizerConfigNames) {
  FakeCheckpoint gguf;
  gguf.vocabulary = TinyVocabulary();
  gguf.vocabulary->tokens.emplace_back("<|im_end|>");
  gguf.vocabulary->scores.push_back(0);
  gguf.vocabulary->types.push_back(3);
  const auto tokenizer = OpenTokenizer(gguf);
  FakeCheckpoint folder;
  folder.generation = Json::Parse(R"({"eos_token_id": [2, 7]})", "generation_config.json");
  folder.tokenizer_config = R"({"eos_token": "<|im_end|>"})";
  EXPECT_EQ(FindEosIds(folder, tokenizer.get(), 261), (Ids{2, 260, 7}));
  folder.tokenizer_config = R"({"eos_token": {"content": "<|im_end|>", "special": true}})";
  EXPECT_EQ(FindEosIds(folder, tokenizer.get(), 261), (Ids{2, 260, 7}));
  folder.tokenizer_config = R"({"eos_token": null})";
  EXPECT_EQ(FindEosIds(folder, tokenizer.get(), 261), (Ids{2, 7}));
  folder.tokenizer_config = R"({"eos_token": 3})";
  ErrorOf([&] { FindEosIds(folder, tokenizer.get(), 261); }, ErrorCode::kCorrupt);
}

TEST(OpenTokenizer, NoneIsNoError) { EXPECT_EQ(OpenTokenizer(FakeCheckpoint()), nullptr); }

TEST(OpenTokenizer, OtherVocabulariesAreRefusedByName) {
  FakeCheckpoint checkpoint;
  checkpoint.vocabulary = TinyVocabulary();
  checkpoint.vocabulary->model = "gpt2";
  const std::string error = ErrorOf([&] { OpenTokenizer(checkpoint); }, ErrorCode::kUnsupported);
  EXPECT_NE(error.find("expected 'llama', found 'gpt2'"), std::string::npos) << error;
  EXPECT_NE(error.find("the-model"), std::string::npos) << error;
}

TEST(OpenTokenizer, BrokenBytesAreNamedWithTheirFile) {
  FakeCheckpoint checkpoint;
  checkpoint.sentencepiece = "\x0A\xFFnonsense";
  const std::string error = ErrorOf([&] { OpenTokenizer(checkpoint); }, ErrorCode::kCorrupt);
  EXPECT_NE(error.find("the-model/tokenizer.model"), std::string::npos) << error;
}

}  // namespace
}  // namespace mixtral
