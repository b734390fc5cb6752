// SPDX-License-Identifier: Apache-2.0
// The simulators on traces small enough to replay by hand, and properties that hold on any trace.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "observatory/replay_cache.h"
#include "observatory/replay_devices.h"
#include "observatory/replay_report.h"
#include "observatory/test_traces.h"

namespace mixtral::observatory {
namespace {

using testing::Sequence;
using testing::SmallInfo;

int64_t Hits(const std::vector<int32_t>& uses, const TraceInfo& info, int capacity,
             CachePolicy policy) {
  return ReplayCache(uses, info, capacity, policy).hits;
}

TEST(ReplayCache, PoliciesByHand) {
  const TraceInfo info = SmallInfo(1, 4, 1);
  const std::vector<int32_t> uses = {0, 0, 1, 2, 0, 3, 0, 1, 2};
  // LRU of 2: 0 miss, 0 hit, 1 2 0 miss, 3 miss (2 goes), 0 hit, 1 miss (3 goes), 2 miss.
  EXPECT_EQ(Hits(uses, info, 2, CachePolicy::kLru), 2);
  // LFU of 2: 0 stays from the beginning; hits are its four later uses bar none: 0 0 . . 0 . 0 . .
  EXPECT_EQ(Hits(uses, info, 2, CachePolicy::kLfu), 3);
  // Oracle of 2: keeps 0 and 1 until 0 is used no more, then 1; 2 and 3 never enter before that.
  EXPECT_EQ(Hits(uses, info, 2, CachePolicy::kOracle), 4);
  EXPECT_EQ(Hits(uses, info, 4, CachePolicy::kLru), 5);  // nine uses of four experts
  EXPECT_EQ(Hits(uses, info, 0, CachePolicy::kLru), 0);
  EXPECT_EQ(Hits(uses, info, 0, CachePolicy::kOracle), 0);
}

TEST(ReplayCache, HybridForgetsWhatWasPopularLongAgo) {
  const TraceInfo info = SmallInfo(1, 4, 1);  // a count is half of itself after 32 uses
  std::vector<int32_t> uses(30, 0);
  for (int i = 0; i < 200; ++i) uses.push_back(1 + i % 2);
  // LRU drops 0 at the second newcomer: 29 hits of 0, then all but the first uses of 1 and 2.
  EXPECT_EQ(Hits(uses, info, 2, CachePolicy::kLru), 29 + 198);
  // LFU holds on to 0 until 1 and 2 have been used as often, the hybrid until 0 has faded.
  const int64_t lfu = Hits(uses, info, 2, CachePolicy::kLfu);
  const int64_t hybrid = Hits(uses, info, 2, CachePolicy::kHybrid);
  EXPECT_GT(hybrid, lfu);
  EXPECT_LT(hybrid, 29 + 198);
}

TEST(ReplayCache, LayersHaveTheirOwnPart) {
  const TraceInfo info = SmallInfo(2, 4, 1);
  const std::vector<int32_t> uses = {0, 4, 0, 5, 0, 6, 0, 7};  // layer 0 always 0
  EXPECT_EQ(Hits(uses, info, 2, CachePolicy::kLruPerLayer), 3);
  EXPECT_EQ(Hits(uses, info, 1, CachePolicy::kLruPerLayer), 3);  // the place is layer 0's
  EXPECT_EQ(Hits(uses, info, 1, CachePolicy::kLru), 0);
}

Trace RandomTrace(uint64_t seed) {
  Trace trace = {.info = SmallInfo(3, 6), .pieces = {}, .sequences = {}};
  const CounterRng rng(seed);
  uint64_t counter = 0;
  const auto draw = [&](int n) {
    return static_cast<int>(rng.Bits(counter++) % static_cast<uint64_t>(n));
  };
  std::vector<std::vector<int>> choices;
  std::vector<TokenId> tokens;
  for (int t = 0; t < 300; ++t) {
    std::vector<int>& row = choices.emplace_back();
    tokens.push_back(draw(9));
    for (int l = 0; l < 3; ++l) {
      const bool repeat = t > 0 && draw(3) == 0;
      const int first =
          repeat ? choices[choices.size() - 2][static_cast<size_t>(2 * l)] : draw(2) * draw(6) % 6;
      row.insert(row.end(), {first, (first + 1 + draw(5)) % 6});
    }
  }
  trace.sequences.push_back(Sequence("random", tokens, choices));
  return trace;
}

TEST(ReplayCache, NobodyBeatsTheOracleAndAFullCacheMissesEachExpertOnce) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Trace trace = RandomTrace(seed);
    const std::vector<int32_t> uses = UsesOf(trace);
    EXPECT_EQ(std::ssize(uses), 300 * 3 * 2);
    int64_t before = -1;
    for (int capacity = 0; capacity <= 18; ++capacity) {
      const int64_t oracle = Hits(uses, trace.info, capacity, CachePolicy::kOracle);
      for (const CachePolicy policy : kCachePolicies)
        EXPECT_LE(Hits(uses, trace.info, capacity, policy), oracle)
            << CachePolicyName(policy) << " " << capacity;
      EXPECT_GE(oracle, before);
      before = oracle;
    }
    for (const CachePolicy policy : kCachePolicies)
      EXPECT_EQ(Hits(uses, trace.info, 18, policy), 1800 - 18) << CachePolicyName(policy);
  }
}

/// The best that any replacement can do, by trying all: who is kept after each use.
int64_t BestHits(const std::vector<int32_t>& uses, size_t at, uint32_t held, int capacity) {
  if (at == uses.size()) return 0;
  const uint32_t bit = 1u << uses[at];
  if ((held & bit) != 0) return 1 + BestHits(uses, at + 1, held, capacity);
  int64_t best = BestHits(uses, at + 1, held, capacity);  // kept out
  if (__builtin_popcount(held) < capacity)
    return std::max(best, BestHits(uses, at + 1, held | bit, capacity));
  for (uint32_t victim = 1; victim < 16; victim <<= 1)
    if ((held & victim) != 0)
      best = std::max(best, BestHits(uses, at + 1, (held & ~victim) | bit, capacity));
  return best;
}

TEST(ReplayCache, TheOracleIsTheBestOfAllReplacements) {
  const TraceInfo info = SmallInfo(1, 4, 1);
  const CounterRng rng(5);
  for (uint64_t trial = 0; trial < 20; ++trial) {
    std::vector<int32_t> uses;
    for (uint64_t i = 0; i < 10; ++i)
      uses.push_back(static_cast<int32_t>(rng.Bits(trial * 10 + i) % 4));
    for (int capacity = 1; capacity <= 3; ++capacity)
      EXPECT_EQ(Hits(uses, info, capacity, CachePolicy::kOracle), BestHits(uses, 0, 0, capacity));
  }
}

Trace PatternTrace() {
  // One layer, one expert a token: tokens 1 2 1 2 ..., expert 0 for token 1 and 3 for token 2.
  Trace trace = {.info = SmallInfo(1, 4, 1), .pieces = {}, .sequences = {}};
  trace.sequences.push_back(Sequence("a", {1, 2, 1, 2, 1, 2}, {{0}, {3}, {0}, {3}, {0}, {3}}, 1));
  return trace;
}

TEST(ReplayPrefetch, GuessesByHand) {
  const Trace trace = PatternTrace();
  // The token before is always the other one: five guesses, none right.
  const CacheCounts previous = ReplayPrefetch(trace, 1, Predictor::kPreviousToken, 1);
  EXPECT_EQ(previous.guessed, 5);
  EXPECT_EQ(previous.right, 0);
  EXPECT_EQ(previous.hits, 0);
  // The second use of a token is known from the first: guess 2 (for token 2) is the previous token.
  const CacheCounts token = ReplayPrefetch(trace, 1, Predictor::kTokenId, 1);
  EXPECT_EQ(token.guessed, 5);
  EXPECT_EQ(token.right, 4);
  EXPECT_EQ(token.hits, 4);
  EXPECT_EQ(token.prefetched, 4);
  EXPECT_EQ(token.loads(), 2 + 4);
  // Most frequent, the lower of equals: none, 0, 0 (of 0 3), 0, 0, 0: right for tokens 3 and 5.
  EXPECT_EQ(ReplayPrefetch(trace, 1, Predictor::kFrequency, 1).right, 2);
}

TEST(ReplayPrefetch, TheLayerBeforeTellsTheNext) {
  Trace trace = {.info = SmallInfo(2, 4, 1), .pieces = {}, .sequences = {}};
  trace.sequences.push_back(
      Sequence("a", {1, 1, 1, 1, 1, 1}, {{0, 3}, {1, 2}, {0, 3}, {1, 2}, {0, 3}, {1, 2}}, 1));
  const CacheCounts counts = ReplayPrefetch(trace, 8, Predictor::kLayerBefore, 1);
  // Layer 0 guesses the token before (5, never right), layer 1 what followed (4 after the first
  // two).
  EXPECT_EQ(counts.guessed, 5 + 4);
  EXPECT_EQ(counts.right, 4);
}

TEST(Replay, SpeedByHand) {
  TraceInfo info = SmallInfo();  // expert 1000 bytes, the rest 500
  // 10 tokens, 4 uses each, half of them missed: 4500 bytes of memory, 2000 of disk a token.
  const CacheCounts counts = {.uses = 40, .hits = 20, .prefetched = 0};
  EXPECT_NEAR(TokensPerSecond(counts, info, 10, {.memory_rate = 4500, .disk_rate = 1000}),
              1.0 / (1 + 2), 1e-12);
  // Ahead: 3 experts a token, beside the memory: 3 s against 1 s.
  const CacheCounts ahead = {.uses = 40, .hits = 40, .prefetched = 30};
  EXPECT_NEAR(TokensPerSecond(ahead, info, 10, {.memory_rate = 4500, .disk_rate = 1000}), 1.0 / 3,
              1e-12);
  EXPECT_EQ(CacheSizeFor(info, 2600), 2);
  EXPECT_EQ(CacheSizeFor(info, 1e9), 4);
  EXPECT_THROW(CacheSizeFor(info, 499), Error);
}

TEST(ReplayDevices, PlacementsByHand) {
  Trace trace = {.info = SmallInfo(), .pieces = {}, .sequences = {}};
  // Loads 0: 3, 1: 3, 2: 1, 3: 1; 0 goes with 1, 2 with 3.
  trace.sequences.push_back(Sequence("a", {1, 1, 1, 1}, {{0, 1}, {1, 0}, {0, 1}, {2, 3}}));
  const TokenRange all = {.begin = 0, .end = 4};
  using Devices = std::vector<std::vector<int>>;
  EXPECT_EQ(PlaceExperts(trace, all, 2, Placement::kContiguous), (Devices{{0, 0, 1, 1}}));
  EXPECT_EQ(PlaceExperts(trace, all, 2, Placement::kRoundRobin), (Devices{{0, 1, 0, 1}}));
  EXPECT_EQ(PlaceExperts(trace, all, 2, Placement::kBalanced), (Devices{{0, 1, 0, 1}}));
  EXPECT_EQ(PlaceExperts(trace, all, 2, Placement::kTogether), (Devices{{0, 0, 1, 1}}));
  EXPECT_EQ(PlaceExperts(trace, all, 3, Placement::kContiguous), (Devices{{0, 0, 1, 2}}));
}

TEST(ReplayDevices, CostsByHand) {
  Trace trace = {.info = SmallInfo(), .pieces = {}, .sequences = {}};
  trace.sequences.push_back(Sequence("a", {1, 1, 1, 1}, {{0, 1}, {1, 0}, {0, 1}, {2, 3}}));
  const TokenRange all = {.begin = 0, .end = 4};
  const DeviceMachine machine = {.n_devices = 2, .batch = 4, .memory_rate = 1000, .link_rate = 16};
  // Homes 0 1 0 1. Contiguous: token 1 (home 1) visits device 0; the others are at home.
  const DeviceCost near =
      ReplayDevices(trace, all, PlaceExperts(trace, all, 2, Placement::kContiguous), machine);
  EXPECT_DOUBLE_EQ(near.imbalance, 6 / 4.0);
  EXPECT_DOUBLE_EQ(near.remote, 1 / 4.0);
  EXPECT_DOUBLE_EQ(near.bytes_per_token, 2 * 16 / 4.0);  // a row is 8 values of 2 bytes
  // 0.5 s for the rest, two active experts on each device 2 s, one row in each direction 1 s.
  EXPECT_DOUBLE_EQ(near.tokens_per_second, 4 / 3.5);
  // Round robin: every token visits the other device once; loads are even.
  const DeviceCost even =
      ReplayDevices(trace, all, PlaceExperts(trace, all, 2, Placement::kRoundRobin), machine);
  EXPECT_DOUBLE_EQ(even.imbalance, 1);
  EXPECT_DOUBLE_EQ(even.remote, 1);
  // Each link: two tokens of its own out and two strangers back out: 4 rows.
  EXPECT_DOUBLE_EQ(even.tokens_per_second, 4 / (0.5 + 2 + 4));
  // A step of two tokens, and only the second half of the trace.
  const DeviceCost half = ReplayDevices(
      trace, {.begin = 2, .end = 4}, PlaceExperts(trace, all, 2, Placement::kContiguous),
      {.n_devices = 2, .batch = 2, .memory_rate = 1000, .link_rate = 16});
  EXPECT_DOUBLE_EQ(half.imbalance, 1);
  EXPECT_DOUBLE_EQ(half.remote, 0);
}

TEST(ReplayReport, HoldsEveryPolicyAndRefusesAnEmptyTrace) {
  ReplayOptions options = {.cache_sizes = {2, 4}, .devices = {2}};
  options.memory_rate = options.disk_rate = options.link_rate = 1e9;
  const Json report = MakeReplayReport(RandomTrace(1), options);
  const Json row = report.At("caches").At(1);
  EXPECT_EQ(row.At("experts").AsInt(), 4);
  for (const CachePolicy policy : kCachePolicies)
    EXPECT_EQ(row.At("policies").At(CachePolicyName(policy)).At("hit_rate").AsDouble(),
              ReplayCache(UsesOf(RandomTrace(1)), RandomTrace(1).info, 4, policy).hit_rate());
  EXPECT_NE(ReplayReportText(report).find("oracle"), std::string::npos);
  EXPECT_NE(ReplayPage(report).find("<svg"), std::string::npos);
  EXPECT_THROW(MakeReplayReport({.info = SmallInfo(), .pieces = {}, .sequences = {}}, options),
               Error);
}

}  // namespace
}  // namespace mixtral::observatory
