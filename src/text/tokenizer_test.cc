// SPDX-License-Identifier: Apache-2.0
// Encoding and decoding on a vocabulary that can be followed by hand, and against the library
// itself where hands don't reach.
#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "base/rng.h"
#include "text/sentencepiece_model.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::Show;
using test::SmallLists;
using test::SmallTokenizer;

std::string Encoded(const Tokenizer& tokenizer, std::string_view text) {
  return Show(tokenizer, tokenizer.Encode(text, AddBos::kNo));
}

TEST(Tokenizer, EncodesByScore) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(Encoded(tokenizer, "hello"), "_hello");
  EXPECT_EQ(Encoded(tokenizer, "hello hello"), "_hello|_hello");
  EXPECT_EQ(Encoded(tokenizer, "hell"), "_|hell");
  EXPECT_EQ(Encoded(tokenizer, "ab"), "_a|b");  // "_a" scores above "ab"
  EXPECT_EQ(Encoded(tokenizer, "bab"), "_|b|ab");
  EXPECT_EQ(Encoded(tokenizer, "  "), "__|_");  // equal scores: the leftmost merges first
}

TEST(Tokenizer, EncodesWhatIsNoPieceAsBytes) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(Encoded(tokenizer, "x"), "_|<0x78>");
  EXPECT_EQ(Encoded(tokenizer, "a\xC3\xA9"), "_a|<0xC3>|<0xA9>");
  EXPECT_EQ(Encoded(tokenizer, std::string_view("\0", 1)), "_|<0x00>");
  EXPECT_EQ(Encoded(tokenizer, "a\xFF"), "_a|<0xEF>|<0xBF>|<0xBD>");  // U+FFFD
}

TEST(Tokenizer, EmptyTextHasNoIds) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_TRUE(tokenizer.Encode("", AddBos::kNo).empty());
  EXPECT_EQ(tokenizer.Encode("", AddBos::kYes), std::vector<TokenId>{1});
  EXPECT_EQ(tokenizer.Encode("hello", AddBos::kYes), (std::vector<TokenId>{1, 263}));
}

TEST(Tokenizer, ControlPiecesInTextAreText) {
  const Tokenizer tokenizer =
      SmallTokenizer({{"[ab]", PieceType::kControl}, {"%", PieceType::kControl}});
  EXPECT_EQ(Encoded(tokenizer, "[ab]"), "_|[|ab|]");
  EXPECT_EQ(Encoded(tokenizer, "a</s>"), "_a|<0x3C>|/|<0x73>|<0x3E>");
  EXPECT_EQ(Encoded(tokenizer, "a%"), "_a|<0x25>");  // even of one character
  EXPECT_EQ(tokenizer.FindSpecial("%"), 289);
  EXPECT_EQ(tokenizer.Piece(289), "%");
}

TEST(Tokenizer, UserDefinedPiecesInTextAreFound) {
  const Tokenizer tokenizer =
      SmallTokenizer({{"<|x|>", PieceType::kUserDefined}, {"uuu", PieceType::kUnused}});
  EXPECT_EQ(Encoded(tokenizer, "hello<|x|>ab"), "_hello|<|x|>|ab");
  EXPECT_EQ(Encoded(tokenizer, "uuu"), "_|<0x75>|<0x75>|<0x75>");
}

TEST(Tokenizer, WithoutDummyPrefixNothingIsAdded) {
  VocabularyLists lists = SmallLists();
  lists.add_space_prefix = false;
  const Tokenizer tokenizer = Tokenizer::FromVocabulary(lists);
  EXPECT_FALSE(tokenizer.adds_dummy_prefix());
  EXPECT_EQ(Encoded(tokenizer, "hello hello"), "hello|_hello");
  EXPECT_EQ(tokenizer.Decode({263}), " hello");
}

TEST(Tokenizer, Decodes) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(tokenizer.Decode({}), "");
  EXPECT_EQ(tokenizer.Decode({263, 263}), "hello hello");
  EXPECT_EQ(tokenizer.Decode({1, 263}), "hello");      // control ids vanish
  EXPECT_EQ(tokenizer.Decode({269, 263}), "  hello");  // one space of two
  EXPECT_EQ(tokenizer.Decode({270, 263}), " hello");
  EXPECT_EQ(tokenizer.Decode({3 + 10, 263}), "\n hello");
  EXPECT_EQ(tokenizer.Decode({0, 263}), " \xE2\x81\x87  hello");
  EXPECT_EQ(tokenizer.Decode({3 + 0xC3, 3 + 0xA9}), "\xC3\xA9");
  EXPECT_EQ(tokenizer.Decode({3 + 0xC3, 1, 3 + 0xA9}), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(tokenizer.Decode({3 + 0xF0, 3 + 0x9F, 3 + 0x41}),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "A");
  EXPECT_EQ(tokenizer.Decode({263, 999, -1}), "hello \xE2\x81\x87  \xE2\x81\x87 ");
}

TEST(Tokenizer, DescribesIds) {
  const Tokenizer tokenizer = SmallTokenizer({{"<|x|>", PieceType::kUserDefined}});
  EXPECT_EQ(tokenizer.vocab_size(), 289);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_EQ(tokenizer.unk_id(), 0);
  EXPECT_EQ(tokenizer.Type(2), PieceType::kControl);
  EXPECT_EQ(tokenizer.Type(-1), PieceType::kUnknown);
  EXPECT_EQ(tokenizer.Piece(289), "");
  EXPECT_EQ(tokenizer.ByteValue(3 + 0xFE), 0xFE);
  EXPECT_FALSE(tokenizer.ByteValue(259).has_value());
  EXPECT_EQ(tokenizer.FindSpecial("<|x|>"), 288);
  EXPECT_EQ(tokenizer.FindSpecial("</s>"), 2);
  EXPECT_FALSE(tokenizer.FindSpecial("hello").has_value());
  EXPECT_FALSE(tokenizer.FindSpecial("<unk>").has_value());
}

TEST(Tokenizer, WithoutBosNoneIsAdded) {
  VocabularyLists lists = SmallLists();
  lists.bos_id = -1;
  const Tokenizer tokenizer = Tokenizer::FromVocabulary(lists);
  EXPECT_EQ(tokenizer.bos_id(), -1);
  EXPECT_EQ(tokenizer.Encode("hello", AddBos::kYes), std::vector<TokenId>{263});
}

TEST(Tokenizer, MovesKeepTheVocabulary) {
  Tokenizer first = SmallTokenizer({{"<|x|>", PieceType::kUserDefined}});
  Tokenizer second = std::move(first);
  EXPECT_EQ(second.FindSpecial("<|x|>"), 288);
  first = std::move(second);
  EXPECT_EQ(Encoded(first, "hello"), "_hello");
}

TEST(Tokenizer, RefusesEndlessText) {
  const Tokenizer tokenizer = SmallTokenizer();
  const std::string text((size_t{64} << 20) + 1, ' ');
  EXPECT_EQ(test::ErrorOf([&] { tokenizer.Encode(text, AddBos::kNo); }),
            "invalid argument: text to tokenize: expected at most 67108864 bytes, found 67108865");
}

class Library : public testing::Test {
 protected:
  void Load(const VocabularyLists& lists) {
    vocabulary_ = VocabularyFromLists(lists);
    ASSERT_TRUE(library_.LoadFromSerializedProto(SerializeSentencePieceModel(vocabulary_)).ok());
  }
  std::vector<int> Ids(std::string_view text) const {
    std::vector<int> ids;
    EXPECT_TRUE(library_.Encode(text, &ids).ok());
    return ids;
  }
  std::string Text(const std::vector<int>& ids) const {
    std::string text;
    EXPECT_TRUE(library_.Decode(ids, &text).ok());
    return text;
  }
  Vocabulary vocabulary_;
  sentencepiece::SentencePieceProcessor library_;
};

TEST_F(Library, DecodesTheSame) {
  for (const bool prefix : {true, false}) {
    VocabularyLists lists = SmallLists({{"<|x|>", PieceType::kUserDefined}});
    lists.add_space_prefix = prefix;
    Load(lists);
    const Tokenizer tokenizer = Tokenizer::FromVocabulary(lists);
    // Ids that matter most: specials, spaces, and bytes that begin, continue or break sequences.
    std::vector<TokenId> pool = {0, 1, 2, 262, 263, 264, 269, 270, 270, 271, 288};
    for (const int byte : {0x0A, 0x41, 0x80, 0x9F, 0xA9, 0xBF, 0xC3, 0xE2, 0xED, 0xF0, 0xF4}) {
      pool.push_back(3 + byte);
    }
    const CounterRng rng(7);
    for (uint64_t i = 0; i < 3000; ++i) {
      std::vector<TokenId> ids(rng.Bits(100 * i) % 8);
      for (size_t j = 0; j < ids.size(); ++j)
        ids[j] = pool[rng.Bits(100 * i + j + 1) % pool.size()];
      ASSERT_EQ(tokenizer.Decode(ids), Text(ids)) << Show(tokenizer, ids);
    }
  }
}

TEST_F(Library, LongTextHasTheSameIdsInParts) {
  for (const bool prefix : {true, false}) {
    // "b_" makes "b" before a space no place to cut.
    VocabularyLists lists = SmallLists(
        {{test::Spaced("b_hello"), PieceType::kNormal}, {test::Spaced("l_"), PieceType::kNormal}});
    lists.add_space_prefix = prefix;
    Load(lists);
    const Tokenizer tokenizer = Tokenizer::FromVocabulary(lists);
    const CounterRng rng(11);
    const std::vector<std::string> words = {"hello", "ab",   " ", "  ", "hell", "\xC3\xA9 ",
                                            "x.",    "\xFF", "a", "\n", "b",    "\xE2\x96\x81"};
    for (uint64_t round = 0; round < 3; ++round) {
      std::string text(round, ' ');
      for (uint64_t i = 0; text.size() < 140'000; ++i) {
        text += words[rng.Bits(round << 32 | i) % words.size()];
      }
      ASSERT_EQ(tokenizer.Encode(text, AddBos::kNo), Ids(text));
    }
    for (const char* end : {" ", "a ", "a b", "."}) {  // a cut near the end leaves no empty part
      const std::string text = std::string(size_t{64} << 10, '.') + end;
      ASSERT_EQ(tokenizer.Encode(text, AddBos::kNo), Ids(text)) << end;
    }
  }
}

TEST_F(Library, UnigramModelsLoad) {
  Load(SmallLists());
  vocabulary_.kind = VocabularyKind::kUnigram;
  vocabulary_.remove_extra_whitespaces = true;
  const std::string model = SerializeSentencePieceModel(vocabulary_);
  ASSERT_TRUE(library_.LoadFromSerializedProto(model).ok());
  const Tokenizer tokenizer = Tokenizer::FromSentencePiece(model);
  EXPECT_TRUE(tokenizer.removes_extra_whitespaces());
  EXPECT_EQ(Encoded(tokenizer, "  hello   hello "), "_hello|_hello");
  for (const std::vector<int>& ids :
       {std::vector<int>{270, 263}, {269, 1, 270, 263}, {270, 3 + 65, 263}, {1, 263, 263}}) {
    EXPECT_EQ(tokenizer.Decode(ids), Text(ids)) << Show(tokenizer, ids);
  }
}

}  // namespace
}  // namespace mixtral
