// SPDX-License-Identifier: Apache-2.0
// The real Mixtral vocabulary against independent goldens, read from tokenizer.model, through the
// lists that a GGUF file would carry, and as the tokenizer.json that would be made from it.
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/rng.h"
#include "text/chat_template.h"
#include "text/sentencepiece_model.h"
#include "text/test_templates.h"
#include "text/test_vocabulary.h"
#include "text/token_stream.h"

namespace mixtral {
namespace {

enum class From : uint8_t { kSentencePiece, kLists, kTokenizerJson };

VocabularyLists ListsOf(const Vocabulary& vocabulary) {
  VocabularyLists lists;
  lists.tokens = vocabulary.pieces;
  lists.scores = vocabulary.scores;
  for (const PieceType type : vocabulary.types) lists.types.push_back(static_cast<int32_t>(type));
  lists.bos_id = vocabulary.bos_id;
  lists.eos_id = vocabulary.eos_id;
  lists.unknown_id = vocabulary.unk_id;
  return lists;
}

std::string Base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    out.push_back(static_cast<char>(bits >> n_bits));
  }
  return out;
}

std::vector<TokenId> Ids(const Json& json) {
  const std::vector<int64_t> ids = json.AsIntArray();
  return {ids.begin(), ids.end()};
}

class Golden : public testing::TestWithParam<From> {
 protected:
  void SetUp() override {
    const std::string path = test::SharedFile("fixtures/tokenizer/tokenizer.model");
    if (path.empty()) GTEST_SKIP() << "no shared fixtures: set MIXTRAL_SHARED";
    const std::string bytes = ReadTextFile(path);
    tokenizer_ = std::make_unique<Tokenizer>(Make(bytes));
  }
  static Tokenizer Make(const std::string& bytes) {
    if (GetParam() == From::kSentencePiece) return Tokenizer::FromSentencePiece(bytes);
    const VocabularyLists lists = ListsOf(ParseSentencePieceModel(bytes));
    if (GetParam() == From::kLists) return Tokenizer::FromVocabulary(lists);
    return Tokenizer::FromTokenizerJson(test::MakeTokenizerJson(lists).Dump());
  }
  static Json Read(std::string_view name) {
    const std::string path = test::SharedFile(fmt::format("fixtures/tokenizer/{}", name));
    return Json::Parse(ReadTextFile(path), name);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(Golden, SpecialIds) {
  EXPECT_EQ(tokenizer_->vocab_size(), 32000);
  EXPECT_EQ(tokenizer_->unk_id(), 0);
  EXPECT_EQ(tokenizer_->bos_id(), 1);
  EXPECT_EQ(tokenizer_->eos_id(), 2);
  EXPECT_EQ(tokenizer_->Piece(22557), "\xE2\x96\x81Hello");
  EXPECT_EQ(DefaultChatFormat(*tokenizer_), ChatFormat::kMistralV1);
}

TEST_P(Golden, EncodesAndDecodes) {
  const Json cases = Read("tokenizer_goldens.json").At("cases");
  ASSERT_EQ(cases.Size(), 248u);
  for (size_t i = 0; i < cases.Size(); ++i) {
    const Json item = cases.At(i);
    const std::string text = item.At("text").AsString();
    const std::vector<TokenId> ids = Ids(item.At("ids"));
    EXPECT_EQ(tokenizer_->Encode(text, AddBos::kNo), ids) << i;
    EXPECT_EQ(tokenizer_->Decode(ids), item.At("decode").AsString()) << i;
    TokenStream stream(tokenizer_.get(), StreamStart::kNewText);
    std::string streamed;
    for (const TokenId id : ids) streamed += stream.Push(id);
    EXPECT_EQ(streamed + stream.Finish(), item.At("decode").AsString()) << i;
  }
}

TEST_P(Golden, StreamsSingleIds) {
  const Json pieces = Read("pieces.json").At("pieces");
  ASSERT_GT(pieces.Size(), 100u);
  for (size_t i = 0; i < pieces.Size(); ++i) {
    const Json item = pieces.At(i);
    const auto id = static_cast<TokenId>(item.At("id").AsInt());
    EXPECT_EQ(tokenizer_->Piece(id), item.At("piece").AsString());
    TokenStream alone(tokenizer_.get(), StreamStart::kNewText);
    std::string text = alone.Push(id);
    text += alone.Finish();
    EXPECT_EQ(text, item.At("alone").AsString()) << id;
    TokenStream after(tokenizer_.get(), StreamStart::kNewText);
    EXPECT_EQ(after.Push(22557), "Hello");
    text = "Hello" + after.Push(id);
    text += after.Finish();
    EXPECT_EQ(text, item.At("after_hello").AsString()) << id;
  }
}

TEST_P(Golden, EncodesInvalidUtf8) {
  const Json cases = Read("invalid_utf8.json").At("cases");
  ASSERT_GT(cases.Size(), 0u);
  for (size_t i = 0; i < cases.Size(); ++i) {
    const std::string text = Base64(cases.At(i).At("bytes_base64").AsString());
    EXPECT_EQ(tokenizer_->Encode(text, AddBos::kNo), Ids(cases.At(i).At("sentencepiece_ids"))) << i;
  }
}

std::vector<Message> ReadMessages(const Json& json) {
  std::vector<Message> messages;
  for (size_t i = 0; i < json.Size(); ++i) {
    messages.push_back({json.At(i).At("role").AsString(), json.At(i).At("content").AsString()});
  }
  return messages;
}

TEST_P(Golden, RendersChats) {
  const ChatTemplate chat(ChatFormat::kMistralV1, tokenizer_.get());
  const Json cases = Read("chat_goldens.json").At("cases");
  ASSERT_EQ(cases.Size(), 12u);
  for (size_t i = 0; i < cases.Size(); ++i) {
    std::vector<Message> messages = ReadMessages(cases.At(i).At("messages"));
    if (const std::optional<Json> system = cases.At(i).Find("system")) {
      messages.insert(messages.begin(), {"system", system->AsString()});
    }
    const RenderOptions options{.continue_final_message =
                                    cases.At(i).At("continue_final_message").AsBool()};
    EXPECT_EQ(chat.Render(messages, options), Ids(cases.At(i).At("ids"))) << i;
  }
  const Json sample = Read("mistral_common_no_tools_sample.json");
  EXPECT_EQ(chat.Render(ReadMessages(sample.At("messages"))),
            Ids(Read("mistral_common_no_tools_tokens_v1.json").At("tokens")));
}

TEST_P(Golden, RendersChatsByTemplate) {
  for (const std::string_view jinja : {test::kV1Template, test::kV1SpacedTemplate}) {
    const ChatTemplate chat(jinja, tokenizer_.get());
    EXPECT_EQ(RecogniseTemplate(jinja, *tokenizer_), ChatFormat::kMistralV1);
    const Json cases = Read("chat_goldens.json").At("cases");
    for (size_t i = 0; i < cases.Size(); ++i) {
      std::vector<Message> messages = ReadMessages(cases.At(i).At("messages"));
      if (const std::optional<Json> system = cases.At(i).Find("system")) {
        messages.insert(messages.begin(), {"system", system->AsString()});
      }
      const RenderOptions options{.continue_final_message =
                                      cases.At(i).At("continue_final_message").AsBool()};
      EXPECT_EQ(chat.Render(messages, options), Ids(cases.At(i).At("ids"))) << i;
    }
  }
}

TEST_P(Golden, RendersPublishedChats) {
  const ChatTemplate chat(ChatFormat::kMistralV1, tokenizer_.get());
  const std::vector<Message> turns = {
      {"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}};
  EXPECT_EQ(chat.Render(turns),
            (std::vector<TokenId>{1,   733,   16289, 28793, 264, 733,   28748, 16289, 28793, 287, 2,
                                  733, 16289, 28793, 277,   733, 28748, 16289, 28793, 281,   2}));
  const std::vector<Message> system = {{"system", "SYSTEM"}, {"user", "a"}};
  EXPECT_EQ(chat.Render(system), (std::vector<TokenId>{1, 733, 16289, 28793, 17121, 22526, 13, 13,
                                                       28708, 733, 28748, 16289, 28793}));
}

TEST_P(Golden, LongTextHasTheSameIdsInParts) {
  std::string text;
  for (int i = 0; text.size() < 300'000; ++i) {
    text +=
        fmt::format("Line {}: the quick brown fox,  it jumps.\n\n  if (x < {}) return;\t ", i, i);
  }
  // Cut by hand at spaces after a line feed, which no piece joins, into parts too short to be cut.
  const std::vector<TokenId> ids = tokenizer_->Encode(text, AddBos::kNo);
  std::vector<TokenId> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find("jumps.\n\n ", at), text.size() - 8) + 8;
    const std::vector<TokenId> part = tokenizer_->Encode(text.substr(at, end - at), AddBos::kNo);
    parts.insert(parts.end(), part.begin(), part.end());
    at = end + 1;
  }
  EXPECT_EQ(ids, parts);
  EXPECT_EQ(tokenizer_->Decode(ids), text);
}

std::string NameOf(const testing::TestParamInfo<From>& instance) {
  constexpr const char* kNames[] = {"SentencePiece", "Lists", "TokenizerJson"};
  return kNames[static_cast<size_t>(instance.param)];
}

INSTANTIATE_TEST_SUITE_P(Vocabulary, Golden,
                         testing::Values(From::kSentencePiece, From::kLists, From::kTokenizerJson),
                         NameOf);

}  // namespace
}  // namespace mixtral
