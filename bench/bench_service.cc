// SPDX-License-Identifier: Apache-2.0
// What the service adds to a forward step, at the sizes of a busy one: planning, looking for
// prefixes, counting experts. docs/serving.md quotes it; a step of a large model takes tenths of a
// second.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/rng.h"
#include "engine/routing_watch.h"
#include "engine/scheduler.h"
#include "engine/token_scores.h"

namespace mixtral::bench {
namespace {

// 64 sequences, the last few of them prompts, and 16 that wait.
void Plan(benchmark::State& state) {
  std::vector<SchedItem> items;
  for (uint64_t i = 0; i < 80; ++i) {
    const int64_t length = static_cast<int64_t>(100 + 37 * i);
    items.push_back({.order = i,
                     .running = i < 64,
                     .length = i < 64 ? length : 0,
                     .pending = i < 60 ? 1 : 400,
                     .held_pages = i < 64 ? (length + 63) / 64 : 0});
  }
  Scheduler scheduler({});
  for (auto _ : state) benchmark::DoNotOptimize(scheduler.Plan(items, 100000, 128).rows.data());
}
BENCHMARK(Plan);

// One layer of a step of 64 rows, 8 experts, 2 each; Mixtral 8x7B has 32 layers.
void CountExperts(benchmark::State& state) {
  ModelConfig config;
  config.n_layers = 1;
  config.n_experts = 8;
  RoutingWatch watch(config, 64);
  const CounterRng rng(1);
  std::vector<int32_t> ids;
  std::vector<float> weights(128, 0.5f);
  for (uint64_t i = 0; i < 64; ++i) {
    const auto first = static_cast<int32_t>(rng.Bits(i) % 8);
    ids.push_back(first);
    ids.push_back((first + 3) % 8);
  }
  const std::vector<TokenId> tokens(64);
  std::vector<SeqRange> ranges;
  for (int i = 0; i < 64; ++i) ranges.push_back({i, i, 1, 0});
  Routing routing;
  routing.expert_ids = {ids.data(), 64, 2, 2};
  routing.weights = {weights.data(), 64, 2, 2};
  for (auto _ : state) {
    for (SeqRange& range : ranges) ++range.start;
    watch.OnRouting(0, {.tokens = tokens, .ranges = ranges, .logit_rows = {}}, routing, {});
  }
}
BENCHMARK(CountExperts);

// Log-probabilities of one token, vocabulary 32000, with the 20 best.
void ScoreTop20(benchmark::State& state) {
  const CounterRng rng(2);
  std::vector<float> logits(32000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = 3 * rng.Normal(i);
  for (auto _ : state) benchmark::DoNotOptimize(ScoreToken(logits, 77, 20));
}
BENCHMARK(ScoreTop20);

}  // namespace
}  // namespace mixtral::bench

BENCHMARK_MAIN();
