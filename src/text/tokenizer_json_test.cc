// SPDX-License-Identifier: Apache-2.0
// tokenizer.json against the same vocabulary as lists, and what is refused.
#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::Extra;
using test::MakeTokenizerJson;

/// The first place of `from` in text made `to`.
std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string SmallJson(const Extra& extra = {}) {
  return MakeTokenizerJson(test::SmallLists(extra)).Dump();
}

std::string Refusal(const std::string& json) {
  return ErrorOf([&] { Tokenizer::FromTokenizerJson(json); });
}

const std::string kPrepend = "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"},";
const std::string kReplace =
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}";
const std::string kSequence =
    "{\"type\":\"Sequence\",\"normalizers\":[" + kPrepend + kReplace + "]}";
const std::string kMetaspace =
    "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"first\","
    "\"split\":false}";

TEST(TokenizerJson, HasTheIdsOfTheModelItWasMadeFrom) {
  const Extra extra = {{"<|im_start|>", PieceType::kControl}, {"user", PieceType::kUserDefined}};
  const Tokenizer lists = test::SmallTokenizer(extra);
  const Tokenizer json = Tokenizer::FromTokenizerJson(SmallJson(extra));
  EXPECT_EQ(json.vocab_size(), lists.vocab_size());
  EXPECT_EQ(json.bos_id(), 1);
  EXPECT_EQ(json.eos_id(), 2);
  EXPECT_EQ(json.unk_id(), 0);
  EXPECT_TRUE(json.adds_dummy_prefix());
  for (TokenId id = 0; id < lists.vocab_size(); ++id) {
    EXPECT_EQ(json.Piece(id), lists.Piece(id));
    EXPECT_EQ(json.Type(id), lists.Type(id)) << lists.Piece(id);
  }
  for (const char* text : {"hello", " hello  ab", "INST[/INST]", "a user hell o", "<s>x\xC3\xA9",
                           "a    b", "<|im_start|>", "helhelloINSTSTIN", ""}) {
    const std::vector<TokenId> ids = lists.Encode(text, AddBos::kYes);
    EXPECT_EQ(json.Encode(text, AddBos::kYes), ids) << text;
    EXPECT_EQ(json.Decode(ids), lists.Decode(ids));
  }
}

TEST(TokenizerJson, TheFirstMergeOfAPieceDecides) {
  // "ab" before "bc": abc is ab c; the other way it is a bc.
  const std::string vocab = Replaced(SmallJson(), "\"vocab\":{", "\"vocab\":{\"bc\":288,");
  const std::string ab = Replaced(vocab, "\"a b\"", "\"a b\",\"b c\"");
  const std::string bc = Replaced(vocab, "\"a b\"", "\"b c\",\"a b\"");
  const auto pieces = [](const std::string& json) {
    const Tokenizer tokenizer = Tokenizer::FromTokenizerJson(json);
    return test::Show(tokenizer, tokenizer.Encode("[abc", AddBos::kNo));
  };
  EXPECT_EQ(pieces(ab), "_|[|ab|c");
  EXPECT_EQ(pieces(bc), "_|[|a|bc");
}

TEST(TokenizerJson, ReadsTheNewerSpellings) {
  const std::string small = SmallJson();
  std::string json = Replaced(Replaced(small, kSequence, "null"), "\"pre_tokenizer\":null",
                              "\"pre_tokenizer\":" + kMetaspace);
  json = Replaced(json, "\"h e\"", "[\"h\",\"e\"]");
  const Tokenizer tokenizer = Tokenizer::FromTokenizerJson(json);
  EXPECT_EQ(test::Show(tokenizer, tokenizer.Encode("hello a", AddBos::kNo)), "_hello|_a");
  const Tokenizer never = Tokenizer::FromTokenizerJson(Replaced(json, "\"first\"", "\"never\""));
  EXPECT_FALSE(never.adds_dummy_prefix());
  EXPECT_EQ(test::Show(never, never.Encode("hello a", AddBos::kNo)), "hello|_a");
  EXPECT_FALSE(Tokenizer::FromTokenizerJson(Replaced(small, kPrepend, "")).adds_dummy_prefix());
}

TEST(TokenizerJson, AddsTokensBeyondTheVocabulary) {
  const auto with = [](std::string_view tokens) {
    return Replaced(SmallJson(), "\"added_tokens\":[",
                    fmt::format("\"added_tokens\":[{},", tokens));
  };
  const Tokenizer tokenizer = Tokenizer::FromTokenizerJson(
      with(R"({"id":288,"content":"<|im_start|>","special":true},)"
           R"({"id":289,"content":"a hello","special":false,"lstrip":false,"normalized":true})"));
  EXPECT_EQ(tokenizer.FindSpecial("<|im_start|>"), 288);
  EXPECT_EQ(tokenizer.Type(288), PieceType::kControl);
  EXPECT_EQ(tokenizer.Type(289), PieceType::kUserDefined);
  EXPECT_EQ(test::Show(tokenizer, tokenizer.Encode("ba hello", AddBos::kNo)), "_|b|a_hello");
  EXPECT_EQ(Refusal(with(R"({"id":290,"content":"x","special":true})")),
            "corrupt: tokenizer.json $.added_tokens[0]: expected 'id 288', found id 290");
  EXPECT_EQ(Refusal(with(R"({"id":1,"content":"x","special":true})")),
            "corrupt: tokenizer.json $.added_tokens[0]: expected '<s>', found id 1");
  EXPECT_EQ(Refusal(with(R"({"id":288,"content":"x","special":false,"lstrip":true})")),
            "unsupported: tokenizer.json $.added_tokens[0].lstrip: expected none, found true");
}

TEST(TokenizerJson, OthersAreRefusedByName) {
  const std::string json = SmallJson();
  const auto refusal = [&](std::string_view from, std::string_view to) {
    return Refusal(Replaced(json, from, to));
  };
  EXPECT_EQ(refusal("\"BPE\"", "\"Unigram\""),
            "unsupported: tokenizer.json $.model.type: expected BPE, found Unigram");
  EXPECT_EQ(refusal("\"byte_fallback\":true", "\"byte_fallback\":false"),
            "unsupported: tokenizer.json $.model: expected byte_fallback: true, found false");
  EXPECT_EQ(refusal("\"dropout\":null", "\"dropout\":0.1"),
            "unsupported: tokenizer.json $.model.dropout: expected none, found 0.1");
  EXPECT_EQ(
      refusal("\"dropout\":null", "\"end_of_word_suffix\":\"</w>\""),
      "unsupported: tokenizer.json $.model.end_of_word_suffix: expected none, found \"</w>\"");
  EXPECT_EQ(
      refusal(kReplace, "{\"type\":\"NFKC\"}"),
      "unsupported: tokenizer.json $.normalizer.normalizers[1]: expected a normalizer Prepend or "
      "Replace, found NFKC");
  EXPECT_EQ(
      refusal("\"String\":\" \"", "\"Regex\":\" \""),
      "unsupported: tokenizer.json $.normalizer.normalizers[1]: expected a pattern of one space, "
      "found {\"Regex\":\" \"}");
  EXPECT_EQ(
      refusal(kSequence, "null"),
      "unsupported: tokenizer.json $: expected a normalizer or pre_tokenizer that makes spaces "
      "U+2581, found none");
  EXPECT_EQ(
      refusal("\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}"),
      "unsupported: tokenizer.json $.pre_tokenizer: expected a pre_tokenizer Metaspace, found "
      "ByteLevel");
  EXPECT_EQ(refusal("\"pre_tokenizer\":null",
                    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}"),
            "unsupported: tokenizer.json $.pre_tokenizer: expected split: false, found true");
}

TEST(TokenizerJson, OrdersThatAreNotSentencePiecesAreRefused) {
  const std::string json = SmallJson();
  EXPECT_EQ(
      Refusal(Replaced(json, "\"hell o\",", "")),
      "unsupported: tokenizer.json $.model.merges: expected every split of a piece, as files made "
      "from a SentencePiece model have, found no merge of 'hell' and 'o'");
  EXPECT_EQ(
      Refusal(Replaced(Replaced(json, "\"vocab\":{", "\"vocab\":{\"bc\":288,\"abc\":289,"),
                       "\"a b\"", "\"b c\",\"a bc\",\"a b\",\"ab c\"")),
      "unsupported: tokenizer.json $.model.merges[9]: expected the pairs of a piece next to each "
      "other, found abc");
}

TEST(TokenizerJson, ContradictionsNameTheirPlace) {
  const std::string json = SmallJson();
  EXPECT_EQ(Refusal(Replaced(json, "\"<s>\":1", "\"<s>\":2")),
            "corrupt: tokenizer.json $.model.vocab.</s>: expected an id of its own, found that of "
            "'<s>'");
  EXPECT_NE(Refusal(Replaced(json, "\"<s>\":1", "\"<s>\":-1")), "");
  EXPECT_NE(Refusal(Replaced(json, "\"<s>\":1", "\"<s>\":9999999")), "");
  EXPECT_EQ(
      Refusal(Replaced(json, "\"h e\"", "\"h x\"")),
      "corrupt: tokenizer.json $.model.merges[0]: expected a piece of the vocabulary, found 'hx'");
  EXPECT_EQ(Refusal(Replaced(json, "\"unk_token\":\"<unk>\"", "\"unk_token\":\"none\"")),
            "corrupt: tokenizer.json $.model.unk_token: expected a piece of the vocabulary, found "
            "'none'");
  EXPECT_EQ(Refusal(Replaced(json, "<0x0A>", "<0x0a>")),
            "corrupt: tokenizer: expected all 256 byte pieces, found 255 (no <0x0A>)");
  EXPECT_NE(Refusal("{}"), "");
  EXPECT_NE(Refusal("[1]"), "");
  EXPECT_NE(Refusal(""), "");
}

TEST(TokenizerJson, MutatedTextOnlyThrows) {
  const std::string json = SmallJson({{"user", PieceType::kUserDefined}});
  int n_refused = 0;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    const CounterRng rng(seed, 3);
    std::string text = json;
    const size_t at = rng.Bits(0) % text.size(), length = 1 + rng.Bits(1) % 12;
    if (seed % 3 == 0) text[at] = static_cast<char>(rng.Bits(2));
    if (seed % 3 == 1) text.erase(at, length);
    if (seed % 3 == 2) text.insert(at, text.substr(rng.Bits(3) % text.size(), length));
    const std::string refusal = ErrorOf([&] {
      const Tokenizer tokenizer = Tokenizer::FromTokenizerJson(text);
      tokenizer.Decode(tokenizer.Encode("hello user\xFF a", AddBos::kYes));
    });
    n_refused += refusal.empty() ? 0 : 1;
    EXPECT_TRUE(refusal.empty() || refusal.starts_with("corrupt: ") ||
                refusal.starts_with("unsupported: "))
        << refusal;
  }
  EXPECT_GT(n_refused, 700);
}

}  // namespace
}  // namespace mixtral
