// SPDX-License-Identifier: Apache-2.0
// Which models and vocabularies are refused, with what words, and that broken bytes never do more
// than throw.
#include "text/sentencepiece_model.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/mapped_file.h"
#include "base/rng.h"
#include "text/test_vocabulary.h"
#include "text/wire.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::SmallLists;

std::string SmallModel() { return SerializeSentencePieceModel(VocabularyFromLists(SmallLists())); }

/// The error of reading a sound model with one more message in it, which replaces settings.
std::string ErrorWith(uint32_t message_field, const std::function<void(std::string*)>& write) {
  std::string message, model = SmallModel();
  write(&message);
  AppendBytes(&model, message_field, message);
  return ErrorOf([&] { ParseSentencePieceModel(model); });
}

std::string ErrorOfLists(const VocabularyLists& lists) {
  return ErrorOf([&] { VocabularyFromLists(lists); });
}

TEST(SentencePieceModel, SurvivesTheRoundTrip) {
  VocabularyLists lists = SmallLists({{"[INST]", PieceType::kControl}, {"uu", PieceType::kUnused}});
  lists.add_space_prefix = false;
  const Vocabulary before = VocabularyFromLists(lists);
  const Vocabulary after = ParseSentencePieceModel(SerializeSentencePieceModel(before));
  EXPECT_EQ(after.pieces, before.pieces);
  EXPECT_EQ(after.scores, before.scores);
  EXPECT_EQ(after.types, before.types);
  EXPECT_EQ(after.kind, VocabularyKind::kBpe);
  EXPECT_TRUE(after.byte_fallback);
  EXPECT_FALSE(after.add_dummy_prefix);
  EXPECT_FALSE(after.remove_extra_whitespaces);
  EXPECT_EQ(after.unk_surface, before.unk_surface);
  EXPECT_EQ(after.bos_id, 1);
  EXPECT_EQ(after.eos_id, 2);
  EXPECT_EQ(after.unk_id, 0);
}

TEST(SentencePieceModel, DefaultsAreThoseOfTheFormat) {
  std::string piece, model;
  AppendBytes(&piece, 1, "<unk>");
  AppendInteger(&piece, 3, 2);
  AppendBytes(&model, 1, piece);
  const Vocabulary vocabulary = ParseSentencePieceModel(model);
  EXPECT_EQ(vocabulary.kind, VocabularyKind::kUnigram);
  EXPECT_TRUE(vocabulary.add_dummy_prefix);
  EXPECT_TRUE(vocabulary.remove_extra_whitespaces);
  EXPECT_FALSE(vocabulary.byte_fallback);
  EXPECT_EQ(vocabulary.bos_id, -1);
}

TEST(SentencePieceModel, BosAndEosGoByThePieceNamesOfTheTrainer) {
  std::string model = SmallModel(), trainer;
  AppendBytes(&trainer, 46, "</s>");
  AppendBytes(&trainer, 47, "hello");  // not a control piece
  AppendBytes(&model, 2, trainer);
  const Vocabulary vocabulary = ParseSentencePieceModel(model);
  EXPECT_EQ(vocabulary.bos_id, 2);
  EXPECT_EQ(vocabulary.eos_id, -1);
}

TEST(SentencePieceModel, RefusesSettingsByName) {
  EXPECT_EQ(ErrorWith(2, [](std::string* m) { AppendInteger(m, 3, 3); }),
            "unsupported: tokenizer model: trainer_spec.model_type: expected 1 (unigram) or 2 "
            "(BPE), found 3 (word)");
  EXPECT_EQ(ErrorWith(2, [](std::string* m) { AppendInteger(m, 24, 1); }),
            "unsupported: tokenizer model: trainer_spec.treat_whitespace_as_suffix: expected "
            "false, found true");
  EXPECT_EQ(ErrorWith(2, [](std::string* m) { AppendInteger(m, 35, 0); }),
            "corrupt: tokenizer: found 256 byte pieces although byte_fallback is off");
  EXPECT_EQ(ErrorWith(2, [](std::string* m) { AppendBytes(m, 44, "\xFF"); }),
            "corrupt: tokenizer unk_surface: expected short valid UTF-8 without NUL");
  EXPECT_EQ(ErrorWith(3,
                      [](std::string* m) {
                        AppendBytes(m, 1, "nmt_nfkc");
                        AppendBytes(m, 2, "12345");
                      }),
            "unsupported: tokenizer model: normalizer_spec.precompiled_charsmap: expected none "
            "(identity), found 5 bytes ('nmt_nfkc')");
  EXPECT_EQ(ErrorWith(3, [](std::string* m) { AppendInteger(m, 5, 0); }),
            "unsupported: tokenizer model: normalizer_spec.escape_whitespaces: expected true, "
            "found false");
  EXPECT_EQ(ErrorWith(5, [](std::string* m) { AppendBytes(m, 2, "1"); }).substr(0, 62),
            "unsupported: tokenizer model: denormalizer_spec.precompiled_ch");
}

TEST(SentencePieceModel, RefusesBrokenPieces) {
  EXPECT_EQ(ErrorWith(1, [](std::string* m) { AppendFloat(m, 2, 0); }).substr(0, 36),
            "corrupt: tokenizer model: piece 288 ");
  EXPECT_EQ(ErrorWith(1,
                      [](std::string* m) {
                        AppendBytes(m, 1, "new");
                        AppendInteger(m, 3, 7);
                      }),
            "corrupt: tokenizer model: piece 288 'new': expected a type of 1 to 6, found 7");
  EXPECT_EQ(ErrorWith(1, [](std::string* m) { AppendInteger(m, 1, 0); }).substr(0, 38),
            "corrupt: tokenizer model: pieces.piece");
  EXPECT_EQ(ErrorWith(1, [](std::string* m) { AppendBytes(m, 1, "hello"); }),
            "corrupt: tokenizer piece 288 'hello': already defined as id 262");
  EXPECT_EQ(ErrorOf([] { ParseSentencePieceModel(""); }),
            "corrupt: tokenizer: expected 1 to 1000000 pieces, found 0");
}

TEST(Vocabulary, RefusesUnsoundPieces) {
  VocabularyLists lists = SmallLists({{"", PieceType::kNormal}});
  EXPECT_EQ(ErrorOfLists(lists), "corrupt: tokenizer piece 288 '': expected text, found none");
  lists.tokens.back() = "a\xC3";
  EXPECT_EQ(ErrorOfLists(lists), "corrupt: tokenizer piece 288 'a\\xC3': expected valid UTF-8");
  lists.tokens.back() = std::string("a\0b", 3);
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer piece 288 'a\\x00b': expected no NUL character");
  lists.tokens.back() = "b";
  EXPECT_EQ(ErrorOfLists(lists), "corrupt: tokenizer piece 288 'b': already defined as id 272");
  lists.tokens.back() = std::string(1025, 'z');
  EXPECT_EQ(ErrorOfLists(lists).substr(0, 12), "unsupported:");
  lists.tokens.back() = std::string(1024, 'z');
  EXPECT_EQ(ErrorOfLists(lists), "");
  for (const float score :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    lists.tokens.back() = "new";
    lists.scores.back() = score;
    EXPECT_EQ(ErrorOfLists(lists), "corrupt: tokenizer piece 288 'new': expected a finite score");
  }
}

TEST(Vocabulary, RefusesWrongTypes) {
  VocabularyLists lists = SmallLists();
  lists.types[261] = 0;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer piece 261 'hell': expected a type of 1 to 6, found 0");
  lists.types[261] = 2;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer: expected one unknown piece, found ids 0 and 261");
  lists.types[261] = 6;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer piece 261 'hell': expected a byte piece like <0x0A>");
  lists.types[261] = 1;
  lists.types[3 + 0x41] = 1;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer: expected all 256 byte pieces, found 255 (no <0x41>)");
  lists = SmallLists();
  lists.types[0] = 3;
  EXPECT_EQ(ErrorOfLists(lists), "corrupt: tokenizer: expected one unknown piece, found none");
  lists.scores.pop_back();
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer lists: expected one length, found 288 tokens, 287 scores, 288 "
            "types");
}

TEST(Vocabulary, ChecksSpecialIds) {
  VocabularyLists lists = SmallLists();
  lists.bos_id = 288;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer bos_token_id: expected an id below 288, found 288");
  lists.bos_id = 259;
  lists.eos_id = -2;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer eos_token_id: expected an id below 288, found -2");
  lists.eos_id = -1;
  lists.unknown_id = 5;
  EXPECT_EQ(ErrorOfLists(lists),
            "corrupt: tokenizer unknown_token_id: expected 0, the unknown piece, found 5");
  lists.unknown_id = 0;
  lists.types[0] = 3;  // known by its id alone
  const Vocabulary vocabulary = VocabularyFromLists(lists);
  EXPECT_EQ(vocabulary.bos_id, 259);
  EXPECT_EQ(vocabulary.eos_id, -1);
  EXPECT_EQ(vocabulary.unk_id, 0);
}

TEST(Vocabulary, LimitsUserPiecesThatBeginEachOther) {
  test::Extra extra;
  for (size_t n = 1; n <= 64; ++n) extra.emplace_back(std::string(n, '#'), PieceType::kUserDefined);
  EXPECT_EQ(ErrorOfLists(SmallLists(extra)), "");
  const Tokenizer tokenizer = test::SmallTokenizer(extra);  // the library's own limit is not hit
  EXPECT_EQ(tokenizer.Encode(std::string(64, '#'), AddBos::kNo).size(), 2u);
  extra.emplace_back("!", PieceType::kUserDefined);
  EXPECT_EQ(ErrorOfLists(SmallLists(extra)), "");
  extra.emplace_back(std::string(64, '#') + "!", PieceType::kUserDefined);
  EXPECT_EQ(ErrorOfLists(SmallLists(extra)).substr(0, 12), "unsupported:");
}

TEST(Vocabulary, KnowsBytePieces) {
  EXPECT_EQ(ByteOfPiece("<0x0A>"), 10);
  EXPECT_EQ(ByteOfPiece("<0xFF>"), 255);
  for (const char* piece : {"<0x0a>", "<0xG0>", "<0x0A", "<0x0A>>", "[0x0A]", ""}) {
    EXPECT_EQ(ByteOfPiece(piece), -1) << piece;
  }
}

/// One random change: a bit, a byte, a cut, a run removed, a run repeated, or a length field's
/// worth of 0xFF.
std::string Mutate(std::string bytes, const CounterRng& rng) {
  const size_t at = rng.Bits(0) % bytes.size(), length = 1 + rng.Bits(1) % 16;
  switch (rng.Bits(2) % 6) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.Bits(3) % 8));
      break;
    case 1:
      bytes[at] = static_cast<char>(rng.Bits(3));
      break;
    case 2:
      bytes.resize(at);
      break;
    case 3:
      bytes.erase(at, length);
      break;
    case 4:
      bytes.insert(at, bytes.substr(at, length));
      break;
    default:
      bytes.replace(at, length, std::string(length, '\xFF'));
  }
  return bytes;
}

TEST(SentencePieceModel, MutatedBytesOnlyThrow) {
  const std::string text = Tokenizer::FromSentencePiece(SmallModel()).Decode({262, 272, 3 + 0xC3});
  const std::string model = SmallModel();
  int n_refused = 0, n_accepted = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    std::string bytes = Mutate(model, CounterRng(seed, 1));
    if (seed % 2 == 1) bytes = Mutate(bytes.empty() ? model : bytes, CounterRng(seed, 2));
    const std::string error = ErrorOf([&] {
      const Tokenizer tokenizer = Tokenizer::FromSentencePiece(bytes);
      const std::vector<TokenId> ids = tokenizer.Encode(text + " hello\xFF ab", AddBos::kYes);
      for (const TokenId id : ids) ASSERT_TRUE(tokenizer.IsValid(id));
      tokenizer.Decode(ids);
      ++n_accepted;
    });
    if (error.empty()) continue;
    ++n_refused;
    EXPECT_TRUE(error.starts_with("corrupt: ") || error.starts_with("unsupported: ")) << error;
    EXPECT_EQ(error.find("library"), std::string::npos) << error;  // our checks come first
  }
  EXPECT_EQ(n_refused + n_accepted, 2000);
  EXPECT_GT(n_refused, 400);
  EXPECT_GT(n_accepted, 50);  // scores and letters of pieces may change freely
}

TEST(SentencePieceModel, TruncatedFileIsRefused) {
  const std::string path = test::SharedFile("fixtures/malformed/tokenizer-truncated.model");
  if (path.empty()) GTEST_SKIP() << "no shared fixtures: set MIXTRAL_SHARED";
  EXPECT_EQ(ErrorOf([&] { ParseSentencePieceModel(ReadTextFile(path)); }).substr(0, 45),
            "corrupt: tokenizer model: truncated field 1 a");
}

}  // namespace
}  // namespace mixtral
