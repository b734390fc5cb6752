// SPDX-License-Identifier: Apache-2.0
// Log-probabilities against the formula, and rows that are broken.
#include "engine/token_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/rng.h"

namespace mixtral {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(TokenScores, AreTheLogSoftmax) {
  const CounterRng rng(5);
  std::vector<float> logits(300);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 4 * rng.Normal(i);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  for (const TokenId id : {0, 7, 299}) {
    const float logit = logits[static_cast<size_t>(id)];
    EXPECT_NEAR(ScoreToken(logits, id, 0).token.logprob, logit - std::log(sum), 1e-6);
    EXPECT_TRUE(ScoreToken(logits, id, 0).top.empty());
  }
  std::vector<TokenId> ids(300);
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const ScoredToken scored = ScoreToken(logits, 3, 20);
  ASSERT_EQ(scored.top.size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(scored.top[i].id, ids[i]);
    EXPECT_EQ(scored.top[i].logprob, ScoreToken(logits, ids[i], 0).token.logprob);
  }
}

TEST(TokenScores, TiesGiveTheLowerIdFirst) {
  const std::vector<float> logits = {1, 3, 3, 0, 3};
  const ScoredToken scored = ScoreToken(logits, 0, 4);
  std::vector<TokenId> ids;
  for (const TokenLogprob& entry : scored.top) ids.push_back(entry.id);
  EXPECT_EQ(ids, (std::vector<TokenId>{1, 2, 4, 0}));
  EXPECT_EQ(ScoreToken(logits, 0, 99).top.size(), 5u);
}

TEST(TokenScores, BrokenRowsGiveNumbersAll) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> logits = {nan, 0, -kInfinity, 0};
  EXPECT_EQ(ScoreToken(logits, 0, 2).token.logprob, -kInfinity);
  EXPECT_EQ(ScoreToken(logits, 2, 2).token.logprob, -kInfinity);
  EXPECT_FLOAT_EQ(ScoreToken(logits, 3, 2).token.logprob, std::log(0.5f));
  EXPECT_EQ(ScoreToken(logits, 0, 2).top[0].id, 1);
  const std::vector<float> infinite = {kInfinity, 0}, nothing = {nan, nan};
  EXPECT_EQ(ScoreToken(infinite, 0, 1).token.logprob, 0);
  EXPECT_EQ(ScoreToken(infinite, 1, 1).token.logprob, -kInfinity);
  EXPECT_FALSE(std::isnan(ScoreToken(nothing, 1, 2).token.logprob));
}

}  // namespace
}  // namespace mixtral
