// SPDX-License-Identifier: Apache-2.0
// The observatory's figures against values worked out by hand, and uniform random routing against
// the baselines of the paper's Table 5.
#include "observatory/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "observatory/test_traces.h"

namespace mixtral::observatory {
namespace {

using testing::Sequence;
using testing::SmallInfo;

Trace SmallTrace() {
  return {.info = SmallInfo(),
          .pieces = {},
          .sequences = {Sequence("a", {7, 8, 7, 7}, {{0, 1}, {0, 2}, {2, 0}, {3, 1}}),
                        Sequence("a", {8, 9}, {{1, 2}, {3, 0}}), Sequence("b", {9}, {{3, 2}})}};
}

TEST(Statistics, CountsByHand) {
  const std::vector<DomainCounts> domains = CountDomains(SmallTrace());
  ASSERT_EQ(domains.size(), 2u);
  const DomainCounts& a = domains[0];
  EXPECT_EQ(a.n_tokens, 6);
  EXPECT_EQ(a.n_sequences, 2);
  EXPECT_EQ(a.n_pairs, 4);
  const LayerCounts& layer = a.layers[0];
  EXPECT_EQ(layer.chosen, (std::vector<int64_t>{2, 1, 1, 2, /*second*/ 2, 2, 2, 0}));
  EXPECT_EQ(layer.first.x, 1);  // 0 0 of the first sequence
  EXPECT_EQ(layer.any.x, 2);    // 01-02, 02-20; not 20-31, not 12-30
  EXPECT_EQ(layer.together[0 * 4 + 1], 1);
  EXPECT_EQ(layer.together[0 * 4 + 2], 2);
  EXPECT_EQ(layer.together[2 * 4 + 2], 3);
  EXPECT_DOUBLE_EQ(layer.weight[0], 2.0);
  EXPECT_EQ(Shares(layer, 4), (std::vector<double>{4 / 12.0, 3 / 12.0, 3 / 12.0, 2 / 12.0}));
  EXPECT_EQ(Shares(layer, 4, 1), (std::vector<double>{2 / 6.0, 2 / 6.0, 2 / 6.0, 0}));
  const DomainCounts all = Total(SmallInfo(), domains);
  EXPECT_EQ(all.n_tokens, 7);
  EXPECT_EQ(all.n_pairs, 4);
  EXPECT_EQ(all.layers[0].chosen[3], 3);
}

TEST(Statistics, BaselinesOfThePaperAndOfOtherShapes) {
  EXPECT_DOUBLE_EQ(FirstBaseline(8), 0.125);
  EXPECT_NEAR(AnyBaseline(8, 2), 13.0 / 28, 1e-15);
  EXPECT_DOUBLE_EQ(AnyBaseline(8, 1), 0.125);
  EXPECT_DOUBLE_EQ(AnyBaseline(4, 3), 1);
  EXPECT_NEAR(AnyBaseline(4, 2), 1 - 1.0 / 6, 1e-15);
}

/// Sequences of uniform random pairs of 8 experts.
Trace RandomTrace(int n_sequences, int n_tokens) {
  Trace trace = {.info = SmallInfo(2, 8), .pieces = {}, .sequences = {}};
  const CounterRng rng(17);
  uint64_t counter = 0;
  const auto draw = [&](int n) {
    return static_cast<int>(rng.Bits(counter++) % static_cast<uint64_t>(n));
  };
  for (int s = 0; s < n_sequences; ++s) {
    std::vector<std::vector<int>> choices;
    for (int t = 0; t < n_tokens; ++t) {
      std::vector<int>& row = choices.emplace_back();
      for (int l = 0; l < 2; ++l) {
        const int first = draw(8), second = (first + 1 + draw(7)) % 8;
        row.insert(row.end(), {first, second});
      }
    }
    trace.sequences.push_back(
        Sequence("random", std::vector<TokenId>(static_cast<size_t>(n_tokens), 1), choices));
  }
  return trace;
}

TEST(Statistics, UniformRandomRoutingGivesTheBaselines) {
  const Trace trace = RandomTrace(100, 1001);  // 100,000 pairs
  const DomainCounts counts = CountDomains(trace)[0];
  for (const LayerCounts& layer : counts.layers) {
    const Proportion first = RepeatRate(layer.first, counts), any = RepeatRate(layer.any, counts);
    EXPECT_NEAR(first.value, 0.125, 4 * std::sqrt(0.125 * 0.875 / 1e5));
    EXPECT_NEAR(any.value, 0.4643, 4 * std::sqrt(0.4643 * 0.5357 / 1e5));
    EXPECT_NEAR(any.high - any.low, 2 * 1.96 * std::sqrt(0.4643 * 0.5357 / 1e5), 0.002);
    EXPECT_NEAR(EntropyBits(Shares(layer, 8)), 3, 1e-3);
  }
}

TEST(Statistics, IntervalsByHand) {
  const Proportion half = WilsonInterval(5, 10);  // (0.2366, 0.7634), Wilson 1927
  EXPECT_NEAR(half.low, 0.2366, 1e-4);
  EXPECT_NEAR(half.high, 0.7634, 1e-4);
  EXPECT_NEAR(WilsonInterval(0, 10).high, 0.2775, 1e-4);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
  // A design effect of 4 is a quarter of the trials.
  EXPECT_NEAR(WilsonInterval(40, 80, 4).low, WilsonInterval(10, 20).low, 1e-12);
}

TEST(Statistics, SequencesThatDifferWidenTheInterval) {
  // 10 sequences of 50 pairs: all repeats in five of them, none in the others.
  RepeatSums apart, even;
  for (int i = 0; i < 10; ++i) {
    const double x = i % 2 == 0 ? 50 : 0;
    apart.Add({.x = static_cast<int64_t>(x), .xx = x * x, .xn = x * 50, .nn = 2500});
    even.Add({.x = 25, .xx = 625, .xn = 1250, .nn = 2500});
  }
  const DomainCounts counts = {
      .name = "", .n_sequences = 10, .n_tokens = 510, .n_pairs = 500, .layers = {}};
  // Between sequences: 10/9 * sum (x - 25)^2 = 6944; independent: 125; effect 55.6.
  const Proportion wide = RepeatRate(apart, counts), narrow = RepeatRate(even, counts);
  EXPECT_NEAR(wide.low, WilsonInterval(250, 500, 55.5556).low, 1e-6);
  EXPECT_NEAR(narrow.low, WilsonInterval(250, 500).low, 1e-12);
}

TEST(Statistics, EntropyAndDivergenceByHand) {
  EXPECT_DOUBLE_EQ(EntropyBits(std::vector<double>{0.5, 0.25, 0.25, 0}), 1.5);
  const std::vector<double> p = {1, 0}, q = {0, 1}, r = {0.5, 0.5};
  EXPECT_DOUBLE_EQ(JensenShannonBits(p, p), 0);
  EXPECT_DOUBLE_EQ(JensenShannonBits(p, q), 1);
  // (1/2) log2(1/(3/4)) + (1/2)((1/2) log2((1/2)/(3/4)) + (1/2) log2((1/2)/(1/4)))
  EXPECT_NEAR(JensenShannonBits(p, r), 0.311278, 1e-6);
}

TEST(Statistics, DriftPutsPositionsIntoBuckets) {
  Trace trace = {.info = SmallInfo(), .pieces = {}, .sequences = {}};
  TraceSequence& sequence =
      trace.sequences.emplace_back(Sequence("a", {1, 1, 1}, {{0, 1}, {0, 1}, {2, 3}}));
  sequence.first_position = 30;
  const PositionDrift drift = DriftByPosition(trace);
  EXPECT_EQ(drift.begin, (std::vector<int64_t>{0, 32}));
  EXPECT_EQ(drift.n_tokens, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(drift.shares[0][0], (std::vector<double>{0.5, 0.5, 0, 0}));
  EXPECT_EQ(drift.shares[1][0], (std::vector<double>{0, 0, 0.5, 0.5}));
  sequence.first_position = 127;
  EXPECT_EQ(DriftByPosition(trace).begin, (std::vector<int64_t>{0, 32, 64, 128}));
  EXPECT_EQ(DriftByPosition(trace).n_tokens, (std::vector<int64_t>{0, 0, 1, 2}));
}

TEST(Statistics, TokensOfAnExpertAreThoseItGetsMostSurely) {
  const auto best = TokensOfExperts(SmallTrace(), 5, 2);
  // Token 7: first choices 0 2 3; 8: 0 1; 9: 3 3.
  ASSERT_EQ(best[0][3].size(), 2u);
  EXPECT_EQ(best[0][3][0].token, 9);
  EXPECT_EQ(best[0][3][0].n_here, 2);
  EXPECT_EQ(best[0][3][1].token, 7);
  EXPECT_EQ(best[0][3][1].n, 3);
  EXPECT_TRUE(TokensOfExperts(SmallTrace(), 5, 4)[0][3].empty());
  EXPECT_EQ(TokensOfExperts(SmallTrace(), 1, 2)[0][3].size(), 1u);
}

TEST(Statistics, TwoModelsOnTheSameTokens) {
  const Trace a = SmallTrace();
  Trace b = SmallTrace();
  b.sequences[0].expert_ids = {0, 1, 2, 0, 2, 1, 3, 1};  // token 1: other order, 2: another second
  const auto layers = CompareTraces(a, b);
  ASSERT_TRUE(layers.has_value());
  EXPECT_DOUBLE_EQ((*layers)[0].same_first, 6 / 7.0);
  EXPECT_DOUBLE_EQ((*layers)[0].same_set, 6 / 7.0);
  EXPECT_GT((*layers)[0].load_distance, 0);
  EXPECT_EQ((*CompareTraces(a, a))[0].load_distance, 0);
  b.sequences[0].tokens[0] = 50;
  EXPECT_FALSE(CompareTraces(a, b).has_value());
}

}  // namespace
}  // namespace mixtral::observatory
