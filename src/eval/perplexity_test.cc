// SPDX-License-Identifier: Apache-2.0
// Definitions on probabilities whose perplexity is known.
#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mixtral::eval {
namespace {

TEST(Perplexity, OfOneInFourIsFour) {
  PerplexitySum sum;
  for (int i = 0; i < 5; ++i) sum.Add(std::log(0.25));
  EXPECT_NEAR(sum.Perplexity(), 4, 1e-12);
  EXPECT_NEAR(sum.Error(), 0, 1e-6);
  EXPECT_NEAR(sum.Sum(), 5 * std::log(0.25), 1e-12);
}

// Losses ln 2 and ln 8: mean ln 4; mean squared distance (ln 2)^2; its error ln 2 / sqrt(1).
TEST(Perplexity, TheErrorIsThatOfTheMeanTimesThePerplexity) {
  PerplexitySum sum;
  sum.Add(std::log(0.5));
  EXPECT_TRUE(std::isnan(sum.Error()));
  sum.Add(std::log(0.125));
  EXPECT_NEAR(sum.Perplexity(), 4, 1e-12);
  EXPECT_NEAR(sum.Error(), 4 * std::log(2), 1e-12);
  sum.Add(std::log(0.5));
  sum.Add(std::log(0.125));
  EXPECT_NEAR(sum.Error(), 4 * std::log(2) / std::sqrt(3), 1e-12);
}

TEST(Perplexity, PerByteAndWord) {
  EXPECT_EQ(SizeOf("ab cd").n_words, 2);
  EXPECT_EQ(SizeOf(" ab \n\tcd\n").n_words, 4);
  EXPECT_EQ(SizeOf("").n_words, 1);
  EXPECT_EQ(SizeOf("\xC3\xA9").n_bytes, 2);
  PerplexitySum sum;
  sum.Add(std::log(0.25));
  sum.Add(std::log(0.25));  // 4 bits in all
  const TextSize size = {.n_bytes = 8, .n_words = 2};
  const Json json = PerplexityJson(sum, &size);
  EXPECT_NEAR(json.At("bits_per_byte").AsDouble(), 0.5, 1e-12);
  EXPECT_NEAR(json.At("byte_perplexity").AsDouble(), std::sqrt(2), 1e-12);
  EXPECT_NEAR(json.At("word_perplexity").AsDouble(), 4, 1e-12);
  EXPECT_FALSE(PerplexityJson(sum, nullptr).Find("bytes"));
  EXPECT_FALSE(PerplexityJson(PerplexitySum(), nullptr).Find("perplexity"));
  PerplexitySum impossible;
  impossible.Add(-INFINITY);
  EXPECT_FALSE(PerplexityJson(impossible, nullptr).Find("perplexity"));
}

TEST(Perplexity, ByLengthOfTheContext) {
  PerplexityByLength lengths(4, 2);
  const float half = std::log(0.5f), quarter = std::log(0.25f);
  lengths.Add(std::vector<float>{quarter, quarter, half, half});
  lengths.Add(std::vector<float>{quarter, quarter, half, half});
  const Json rows = lengths.ToJson();
  ASSERT_EQ(rows.Size(), 2u);
  EXPECT_EQ(rows.At(0).At("from").AsInt(), 1);
  EXPECT_EQ(rows.At(1).At("from").AsInt(), 3);
  EXPECT_EQ(rows.At(1).At("to").AsInt(), 4);
  EXPECT_EQ(rows.At(1).At("tokens").AsInt(), 4);
  EXPECT_NEAR(rows.At(0).At("perplexity").AsDouble(), 4, 1e-6);
  EXPECT_NEAR(rows.At(1).At("perplexity").AsDouble(), 2, 1e-6);
  EXPECT_NEAR(rows.At(1).At("perplexity_up_to").AsDouble(), std::sqrt(8), 1e-6);
}

}  // namespace
}  // namespace mixtral::eval
