// SPDX-License-Identifier: Apache-2.0
// A trained tokenizer is of Mistral's kind, the same every time, and opens as every other.
#include "data/tokenizer_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/test_files.h"
#include "text/tokenizer.h"

namespace mixtral::data {
namespace {

using test::Folder;
using test::MessageOf;
using ::testing::HasSubstr;

std::string Prose() {
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += "the quick brown fox number " + std::to_string(i * 37) +
            " jumps over the lazy dog\nvoil\xC3\xA0 l'\xC3\xA9t\xC3\xA9 " + std::to_string(i) +
            "\n";
  return text;
}

TokenizerTrainOptions Options(const Folder& folder) {
  TokenizerTrainOptions options;
  options.inputs = ListInputs({"en=" + folder.Write("a.txt", Prose())});
  options.vocab_size = 340;
  return options;
}

TEST(TrainTokenizer, IsOfMistralsKind) {
  const Folder folder;
  TokenizerTrainOptions options = Options(folder);
  options.controls = {"[INST]", "[/INST]"};
  options.symbols = {"<tab>"};
  const Tokenizer tokenizer = Tokenizer::FromSentencePiece(TrainTokenizer(options).model);
  EXPECT_EQ(tokenizer.vocab_size(), 340);
  EXPECT_EQ(tokenizer.unk_id(), 0);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_TRUE(tokenizer.adds_dummy_prefix());
  EXPECT_FALSE(tokenizer.removes_extra_whitespaces());
  EXPECT_TRUE(tokenizer.FindSpecial("[INST]").has_value());
  EXPECT_TRUE(tokenizer.FindSpecial("<tab>").has_value());
  for (int id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view piece = tokenizer.Piece(id);
    if (tokenizer.Type(id) != PieceType::kNormal) continue;
    size_t n_digits = 0;
    for (const char c : piece) n_digits += c >= '0' && c <= '9' ? 1 : 0;
    EXPECT_TRUE(n_digits == 0 || piece.size() == 1) << piece;
  }
  for (const char* text :
       {"the fox  \n\t jumps 1234", "\xF0\x9F\x99\x82 \xE6\xBC\xA2", "<tab>[INST]"})
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, AddBos::kNo)), text);
}

TEST(TrainTokenizer, TheSameBytesEveryTime) {
  const Folder folder;
  const std::string first = TrainTokenizer(Options(folder)).model;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(TrainTokenizer(Options(folder)).model == first);
}

TEST(TrainTokenizer, SamplesEqualSharesOfDomains) {
  const Folder folder;
  std::string en, fr;
  for (int i = 0; i < 2000; ++i) {
    en += "{\"text\": \"some words " + std::to_string(i) + " in a row of english text\"}\n";
    if (i % 10 == 0) fr += "{\"text\": \"mots " + std::to_string(i) + "\"}\n";
  }
  fr += "{\"txt\": 1}\nnot json\n";
  TokenizerTrainOptions options;
  options.inputs =
      ListInputs({"en=" + folder.Write("en.jsonl", en), "fr=" + folder.Write("fr.jsonl", fr)});
  options.vocab_size = 300;
  options.sample_bytes = 20000;
  const TrainedTokenizer trained = TrainTokenizer(options);
  EXPECT_EQ(trained.n_wrong_rows, 2u);
  EXPECT_NEAR(static_cast<double>(trained.n_text_bytes), 10000 + 200 * 8, 1200);
}

TEST(TrainTokenizer, WhatCannotBeTrainedIsRefused) {
  const Folder folder;
  TokenizerTrainOptions options = Options(folder);
  options.vocab_size = 100000;
  EXPECT_THAT(MessageOf([&] { TrainTokenizer(options); }), HasSubstr("cannot be trained on"));
  options.vocab_size = 340;
  options.symbols = {"a,b"};
  EXPECT_THAT(MessageOf([&] { TrainTokenizer(options); }), HasSubstr("symbol: expected a piece"));
  options = Options(folder);
  options.inputs = ListInputs({"en=" + folder.Write("e.txt", "\n \n")});
  EXPECT_THAT(MessageOf([&] { TrainTokenizer(options); }), HasSubstr("expected text, found none"));
  options.inputs = ListInputs({"en=" + folder.Write("z.jsonl", "{}\n")});
  EXPECT_THAT(MessageOf([&] { TrainTokenizer(options); }), HasSubstr("expected text, found none"));
}

}  // namespace
}  // namespace mixtral::data
