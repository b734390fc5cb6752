// SPDX-License-Identifier: Apache-2.0
// A folder's tokenizer from each set of files that folders have, and the tokens that fine-tunes
// add.
#include "text/tokenizer_files.h"

#include <gtest/gtest.h>

#include <map>

#include "text/sentencepiece_model.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using Files = std::map<std::string, std::string, std::less<>>;

std::unique_ptr<Tokenizer> Open(const Files& files) {
  return TokenizerOfFolder("folder", [&](std::string_view name) -> std::optional<std::string> {
    const auto found = files.find(name);
    return found == files.end() ? std::nullopt : std::optional(found->second);
  });
}

std::string Model() { return SerializeSentencePieceModel(VocabularyFromLists(test::SmallLists())); }
std::string SmallJson(const test::Extra& extra) {
  return test::MakeTokenizerJson(test::SmallLists(extra)).Dump();
}
std::string Refusal(const Files& files) {
  return test::ErrorOf([&] { Open(files); });
}

void ExpectSame(const Tokenizer& a, const Tokenizer& b) {
  ASSERT_EQ(a.vocab_size(), b.vocab_size());
  for (TokenId id = 0; id < a.vocab_size(); ++id) {
    EXPECT_EQ(a.Piece(id), b.Piece(id));
    EXPECT_EQ(a.Type(id), b.Type(id)) << a.Piece(id);
  }
  for (const char* text : {"hello", " hello  ab", "a<|im_end|>b", "x tool use y", "<s>\xC3\xA9"})
    EXPECT_EQ(a.Encode(text, AddBos::kYes), b.Encode(text, AddBos::kYes)) << text;
}

const test::Extra kExtra = {{"<|im_end|>", PieceType::kControl},
                            {test::Spaced("tool_use"), PieceType::kUserDefined}};
const std::string kDecoder = R"({"eos_token":"<|im_end|>","added_tokens_decoder":{
  "0":{"content":"<unk>","special":true},"1":{"content":"<s>","special":true},
  "289":{"content":"tool use","special":false},"288":{"content":"<|im_end|>","special":true}}})";

TEST(TokenizerFiles, EverySetOfFilesGivesTheSameIds) {
  ASSERT_EQ(test::SmallLists().tokens.size(), 288u) << "the ids below follow it";
  const Tokenizer want = test::SmallTokenizer(kExtra);
  EXPECT_EQ(want.Piece(289), test::Spaced("tool_use"));
  EXPECT_NE(want.Encode("x tool use", AddBos::kNo), want.Encode("x tool uso", AddBos::kNo));
  ExpectSame(want, *Open({{"tokenizer.json", SmallJson(kExtra)}}));
  ExpectSame(want, *Open({{"tokenizer.model", Model()}, {"tokenizer_config.json", kDecoder}}));
  // The model counts where both are there; what was added to it does not lie in tokenizer.json.
  ExpectSame(test::SmallTokenizer(),
             *Open({{"tokenizer.model", Model()}, {"tokenizer.json", SmallJson(kExtra)}}));
  EXPECT_EQ(Open({}), nullptr);
  EXPECT_EQ(Open({{"tokenizer_config.json", kDecoder}}), nullptr);
}

TEST(TokenizerFiles, AddedTokensJsonHasControlPieces) {
  const Files files = {{"tokenizer.model", Model()},
                       {"added_tokens.json", R"({"<|im_start|>":289,"<|im_end|>":288})"},
                       {"tokenizer_config.json", "{}"}};
  ExpectSame(test::SmallTokenizer(
                 {{"<|im_end|>", PieceType::kControl}, {"<|im_start|>", PieceType::kControl}}),
             *Open(files));
  Files both = files;  // the newer of the two files counts
  both["tokenizer_config.json"] = kDecoder;
  ExpectSame(test::SmallTokenizer(kExtra), *Open(both));
}

TEST(TokenizerFiles, APieceOfTheModelCanBecomeAControlPiece) {
  const auto tokenizer =
      Open({{"tokenizer.model", Model()},
            {"tokenizer_config.json", R"({"added_tokens_decoder":{"262":{"content":"hello"}}})"}});
  EXPECT_EQ(tokenizer->Type(262), PieceType::kControl);
  EXPECT_EQ(tokenizer->FindSpecial("hello"), 262);
}

TEST(TokenizerFiles, BrokenFilesAreNamed) {
  const auto with = [](const char* name, const char* text) {
    return Refusal({{"tokenizer.model", Model()}, {name, text}});
  };
  EXPECT_EQ(with("added_tokens.json", R"({"a1":290})"),
            "corrupt: added token 'a1': expected id 288, found 290 (ids must follow one another), "
            "in folder/tokenizer.model");
  EXPECT_EQ(with("added_tokens.json", R"({"other":262})"),
            "corrupt: added token 'other': expected id 288, found 262, which is another piece, in "
            "folder/tokenizer.model");
  const std::string negative = with("added_tokens.json", R"({"a1":-1})");
  EXPECT_NE(negative.find("$.a1"), std::string::npos) << negative;
  EXPECT_TRUE(negative.ends_with(", in folder/added_tokens.json")) << negative;
  const std::string key =
      with("tokenizer_config.json", R"({"added_tokens_decoder":{"28x":{"content":"a"}}})");
  EXPECT_NE(key.find("as keys, found '28x', in folder/tokenizer_config.json"), std::string::npos)
      << key;
  EXPECT_NE(with("tokenizer_config.json", "{").find("tokenizer_config.json"), std::string::npos);
  const std::string json = Refusal({{"tokenizer.json", "{}"}});
  EXPECT_NE(json.find("folder/tokenizer.json"), std::string::npos) << json;
}

TEST(TokenizerFiles, OneFileIsToldFromItsFirstByte) {
  ExpectSame(test::SmallTokenizer(), TokenizerOfBytes(Model()));
  ExpectSame(test::SmallTokenizer(kExtra), TokenizerOfBytes(SmallJson(kExtra)));
}

}  // namespace
}  // namespace mixtral
