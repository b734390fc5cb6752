// SPDX-License-Identifier: Apache-2.0
// Rule 8: Forward allocates nothing. This binary's operator new counts.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <atomic>
#include <new>
#include <vector>

#include "base/rng.h"
#include "engine/sampler.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace {

std::atomic<int64_t> g_allocations{0};

void* Allocate(std::size_t size, std::size_t alignment) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Not inlined: where a compiler sees through one side of a pair alone, it warns of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  return Allocate(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return malloc(size);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  free(memory);
}

namespace mixtral::testing {
namespace {

class CountingObserver final : public ForwardObserver {
 public:
  bool WantsLayers() const override { return true; }
  void OnLayer(int, const Batch&, Matrix<const float>) override { ++n_layers; }
  void OnRouting(int, const Batch&, const Routing&, Matrix<const float>) override { ++n_routings; }
  int n_layers = 0, n_routings = 0;
};

void ForwardWithoutAllocations(const TinyModel& model, DType dtype, HarnessOptions options) {
  const TempDir dir;
  WriteGguf(model, dir / "m.gguf", {.dtype = dtype});
  Harness harness(dir / "m.gguf", options);
  const int vocab_size = harness.config().vocab_size;
  const std::vector<int32_t> tokens = RandomTokens(90, vocab_size, 1);
  const std::vector<int32_t> rows = {89, 0, 5};
  std::vector<float> logits(3 * static_cast<size_t>(vocab_size));
  std::vector<float> hidden(3 * static_cast<size_t>(harness.config().dim));
  const ForwardOutput output = {
      .logits = {logits.data(), 3, vocab_size, vocab_size},
      .hidden = {hidden.data(), 3, harness.config().dim, harness.config().dim}};
  const SeqId a = harness.kv().Open().value(), b = harness.kv().Open().value();
  CountingObserver observer;
  // The very first step counts too: nothing is sized late.
  for (int step = 0; step < 3; ++step) {
    const std::array<SeqRange, 2> ranges = {SeqRange{a, 0, 60, harness.kv().Length(a)},
                                            SeqRange{b, 60, 30, harness.kv().Length(b)}};
    ASSERT_TRUE(harness.kv().Reserve(a, 60) && harness.kv().Reserve(b, 30));
    const Batch batch = {
        .tokens = tokens, .ranges = ranges, .logit_rows = rows, .hidden_rows = rows};
    const int64_t before = g_allocations.load();
    harness.transformer().Forward(batch, harness.kv(), output, &observer);
    EXPECT_EQ(g_allocations.load() - before, 0) << "step " << step;
  }
  EXPECT_EQ(observer.n_layers, 3 * (harness.config().n_layers + 1));
  EXPECT_EQ(observer.n_routings,
            harness.config().n_experts > 0 ? 3 * harness.config().n_layers : 0);
}

TEST(Allocation, ForwardAllocatesNothing) {
  for (const ComputeMode mode : {ComputeMode::kFast, ComputeMode::kExact})
    for (const int threads : {1, 3})
      for (const DType dtype : {DType::kBF16, DType::kQ4_K, DType::kQ8_0})
        ForwardWithoutAllocations(MakeTinyModel(TinyConfig256(), 3), dtype,
                                  {.threads = threads, .mode = mode});
}

TEST(Allocation, DenseForwardAllocatesNothing) {
  ModelConfig config = TinyConfig();
  config.n_experts = config.experts_per_token = 0;
  ForwardWithoutAllocations(MakeTinyModel(config, 3), DType::kF32, {.threads = 2});
}

TEST(Allocation, ChoosingATokenAllocatesNothing) {
  constexpr int kVocabSize = 4096;
  SamplerConfig config = {.temperature = 0.9f,
                          .top_k = 500,
                          .top_p = 0.95f,
                          .min_p = 0.01f,
                          .typical_p = 0.98f,
                          .repetition_penalty = 1.1f,
                          .frequency_penalty = 0.5f,
                          .presence_penalty = 0.5f};
  config.logit_bias = {{3, 1}, {5, -2}};
  config.min_tokens = 400;
  config.end_ids = {2};
  Sampler sampler(config, kVocabSize);
  const std::vector<int32_t> tokens = RandomTokens(500, kVocabSize, 1);
  std::vector<float> logits(kVocabSize);
  const CounterRng rng(7);
  for (uint64_t step = 0; step < 3; ++step) {
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = rng.Normal(step * logits.size() + i);
    const int64_t before = g_allocations.load();
    sampler.Pick(logits, {.tokens = tokens, .n_prompt = 50});
    EXPECT_EQ(g_allocations.load() - before, 0) << "step " << step;
  }
}

TEST(Allocation, TheCounterCounts) {
  const int64_t before = g_allocations.load();
  ::operator delete(::operator new(8));
  EXPECT_EQ(g_allocations.load() - before, 1);
}

}  // namespace
}  // namespace mixtral::testing
