// SPDX-License-Identifier: Apache-2.0
// Two distributions and two routers whose distance is known.
#include "eval/comparison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mixtral::eval {
namespace {

std::vector<float> Logits(const std::vector<double>& probabilities, double shift = 0) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + shift));
  return logits;
}

TEST(Comparison, DivergenceOfKnownDistributions) {
  const auto p = Logits({0.5, 0.25, 0.25}), q = Logits({0.25, 0.25, 0.5}, 3);
  // 0.5 ln 2 + 0 + 0.25 ln 0.5
  EXPECT_NEAR(Divergence(p, q), 0.25 * std::log(2), 1e-6);
  EXPECT_NEAR(Divergence(p, Logits({0.5, 0.25, 0.25}, 7)), 0, 1e-6);
  EXPECT_NEAR(Divergence(Logits({1, 0, 0}), q), std::log(4), 1e-6);
  EXPECT_TRUE(std::isinf(Divergence(p, Logits({1, 0, 0}))));
}

TEST(Comparison, PredictionsOfTwoPositions) {
  PredictionComparison comparison;
  const auto p = Logits({0.5, 0.25, 0.25}), q = Logits({0.25, 0.25, 0.5});
  comparison.Add(p, q, 0);  // 1/2 and 1/4; the best differ
  comparison.Add(p, p, 0);
  const Json json = comparison.ToJson();
  EXPECT_EQ(json.At("tokens").AsInt(), 2);
  EXPECT_NEAR(json.At("kl").At("mean").AsDouble(), 0.125 * std::log(2), 1e-6);
  EXPECT_NEAR(json.At("kl").At("median").AsDouble(), 0, 1e-6);
  EXPECT_NEAR(json.At("kl").At("p90").AsDouble(), 0.25 * std::log(2), 1e-6);
  EXPECT_NEAR(json.At("kl").At("max").AsDouble(), 0.25 * std::log(2), 1e-6);
  EXPECT_NEAR(json.At("same_top").AsDouble(), 0.5, 1e-12);
  EXPECT_NEAR(json.At("base").At("perplexity").AsDouble(), 2, 1e-6);
  EXPECT_NEAR(json.At("other").At("perplexity").AsDouble(), std::sqrt(8), 1e-6);
  // The log ratios are ln 2 and 0: mean ln 2 / 2, error (ln 2 / 2) / sqrt(1).
  EXPECT_NEAR(json.At("ratio").AsDouble(), std::sqrt(2), 1e-6);
  EXPECT_NEAR(json.At("ratio_stderr").AsDouble(), std::sqrt(2) * std::log(2) / 2, 1e-6);
}

TEST(Comparison, RoutersOfTwoLayers) {
  RoutingComparison comparison(2);
  const std::vector<float> clear = {3, 2, 0, 0}, near = {3, 2, 1.96f, 0};
  const std::vector<int32_t> ids01 = {0, 1}, ids10 = {1, 0}, ids02 = {0, 2};
  const std::vector<float> weights = {0.75f, 0.25f}, equal = {0.5f, 0.5f};
  comparison.Add(0, {clear, ids01, weights}, {clear, ids01, equal});    // the same, drift 0.25
  comparison.Add(0, {clear, ids01, weights}, {clear, ids10, weights});  // order alone, drift 0.5
  comparison.Add(1, {near, ids01, weights}, {near, ids02, weights});    // another set, drift 0.25
  comparison.Add(1, {clear, ids01, weights}, {near, ids02, weights});
  const Json json = comparison.ToJson();
  const Json first = json.At("layers").At(0), second = json.At("layers").At(1);
  EXPECT_EQ(first.At("same_set").AsDouble(), 1);
  EXPECT_EQ(first.At("same_first").AsDouble(), 0.5);
  EXPECT_EQ(first.At("weight_drift").AsDouble(), 0.375);
  EXPECT_EQ(first.At("near_ties").AsDouble(), 0);
  EXPECT_FALSE(first.Find("changed_at_near_ties"));
  EXPECT_EQ(second.At("same_set").AsDouble(), 0);
  EXPECT_EQ(second.At("same_first").AsDouble(), 1);
  EXPECT_EQ(second.At("near_ties").AsDouble(), 0.5);
  EXPECT_EQ(second.At("changed_at_near_ties").AsDouble(), 0.5);
  EXPECT_EQ(json.At("all").At("same_set").AsDouble(), 0.5);
  EXPECT_EQ(json.At("all").At("weight_drift").AsDouble(), 0.3125);
}

}  // namespace
}  // namespace mixtral::eval
