// SPDX-License-Identifier: Apache-2.0
// MoeFfn at the widths of 8x7B, from one token to a prefill batch, with even and with skewed
// routing. The numbers behind the thresholds of backend/cpu. Weights are random Q4_K (down: Q6_K
// when asked), 0.8 GB in all.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "base/arena.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "moe/resident_store.h"
#include "tensor/float_bits.h"

namespace {

using mixtral::DType;

constexpr int kDim = 4096, kFfnDim = 14336, kExperts = 8, kChosen = 2, kMaxTokens = 512;

/// Random blocks with small scales, as in a file.
mixtral::AlignedBuffer RandomBlocks(DType dtype, int64_t rows, int64_t cols, uint64_t seed) {
  mixtral::AlignedBuffer buffer(mixtral::RowBytes(dtype, cols) * static_cast<size_t>(rows));
  const mixtral::CounterRng rng(seed);
  std::byte* data = buffer.data();
  for (size_t i = 0; i + 8 <= buffer.size(); i += 8) {
    const uint64_t bits = rng.Bits(i);
    std::memcpy(data + i, &bits, 8);
  }
  const auto block = static_cast<size_t>(mixtral::Info(dtype).block_bytes);
  const uint16_t scale = mixtral::F32ToF16(1e-4f);
  for (size_t b = 0; b < buffer.size(); b += block) {
    if (dtype == DType::kQ6_K) {
      std::memcpy(data + b + 208, &scale, 2);
    } else {
      std::memcpy(data + b, &scale, 2);
      std::memcpy(data + b + 2, &scale, 2);
    }
  }
  return buffer;
}

/// One layer of 8x7B, made once per type of down.
struct Layer {
  Layer(mixtral::Backend* backend, DType down_type) {
    for (uint64_t e = 0; e < kExperts; ++e) {
      mixtral::ExpertWeights& expert = experts.emplace_back();
      expert.gate = Add(backend, DType::kQ4_K, kFfnDim, kDim, 3 * e);
      expert.up = Add(backend, DType::kQ4_K, kFfnDim, kDim, 3 * e + 1);
      expert.down = Add(backend, down_type, kDim, kFfnDim, 3 * e + 2);
    }
    router_values = mixtral::AlignedBuffer(kExperts * kDim * sizeof(float));
    auto* router_data = reinterpret_cast<float*>(router_values.data());
    const mixtral::CounterRng rng(5);
    for (uint64_t i = 0; i < kExperts * kDim; ++i) router_data[i] = 0.02f * rng.Normal(i);
    router = backend->Upload(
        {DType::kF32, 2, {kExperts, kDim, 0, 0}, {router_values.data(), router_values.size()}});
  }
  mixtral::WeightRef Add(mixtral::Backend* backend, DType dtype, int64_t rows, int64_t cols,
                         uint64_t seed) {
    const auto& buffer = storage.emplace_back(RandomBlocks(dtype, rows, cols, seed));
    return backend->Upload({dtype, 2, {rows, cols, 0, 0}, {buffer.data(), buffer.size()}});
  }
  std::vector<mixtral::AlignedBuffer> storage;
  mixtral::AlignedBuffer router_values;
  mixtral::WeightRef router;
  std::vector<mixtral::ExpertWeights> experts;
};

/// Arguments: tokens, percentage of tokens that are forced to experts 0 and 1, threads.
void MoeFfn(benchmark::State& state, DType down_type) {
  const int64_t n_tokens = state.range(0);
  const int64_t skew_percent = state.range(1);
  const auto backend =
      mixtral::MakeCpuBackend(static_cast<int>(state.range(2)), mixtral::ComputeMode::kFast);
  backend->Prepare({.max_batch_tokens = kMaxTokens,
                    .max_slots = kMaxTokens * kChosen,
                    .dim = kDim,
                    .ffn_dim = kFfnDim,
                    .n_experts = kExperts,
                    .max_k = kChosen,
                    .n_heads = 32,
                    .n_kv_heads = 8,
                    .head_dim = 128,
                    .rope_theta = 1e6f});
  static const Layer q4_layer(backend.get(), DType::kQ4_K);
  static std::unique_ptr<Layer> q6_layer;
  if (down_type == DType::kQ6_K && q6_layer == nullptr)
    q6_layer = std::make_unique<Layer>(backend.get(), down_type);
  const Layer& layer = down_type == DType::kQ6_K ? *q6_layer : q4_layer;
  mixtral::ResidentStore store(std::vector<std::vector<mixtral::ExpertWeights>>{layer.experts});

  const mixtral::Activation x = backend->AllocActivation(n_tokens, kDim);
  const mixtral::Activation out = backend->AllocActivation(n_tokens, kDim);
  for (int64_t t = 0; t < n_tokens; ++t) {
    const mixtral::CounterRng rng(1, static_cast<uint64_t>(t));
    for (int64_t i = 0; i < kDim; ++i) x.At(t, i) = rng.Normal(static_cast<uint64_t>(i));
  }
  std::vector<float> logits(static_cast<size_t>(n_tokens) * kExperts);
  mixtral::RoutingPolicy forced;
  forced.force = {0, 1};
  std::vector<const mixtral::RoutingPolicy*> policies(static_cast<size_t>(n_tokens));
  for (int64_t t = 0; t < n_tokens * skew_percent / 100; ++t)
    policies[static_cast<size_t>(t)] = &forced;

  double weight_bytes = 0;
  for (auto _ : state) {
    const mixtral::Routing routing =
        backend->MoeFfn({.x = x,
                         .router = layer.router,
                         .store = &store,
                         .experts_per_token = kChosen,
                         .row_policies = policies,
                         .out = out,
                         .router_logits = {logits.data(), n_tokens, kExperts, kExperts}});
    for (size_t e = 0; e < kExperts; ++e)
      if (routing.offsets[e + 1] > routing.offsets[e])
        weight_bytes +=
            static_cast<double>(layer.experts[e].gate.Bytes() + layer.experts[e].up.Bytes() +
                                layer.experts[e].down.Bytes());
    benchmark::DoNotOptimize(out.data);
  }
  const double macs = 3.0 * kDim * kFfnDim * kChosen * static_cast<double>(n_tokens) *
                      static_cast<double>(state.iterations());
  state.counters["tok/s"] = benchmark::Counter(static_cast<double>(n_tokens * state.iterations()),
                                               benchmark::Counter::kIsRate);
  state.counters["GMAC/s"] = benchmark::Counter(macs * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GB/s"] = benchmark::Counter(weight_bytes * 1e-9, benchmark::Counter::kIsRate);
}

void Shapes(benchmark::internal::Benchmark* bench) {
  const int64_t threads = mixtral::AvailableCpus();
  for (const int64_t n_tokens : {1, 2, 4, 8, 16, 64, 512})
    for (const int64_t skew : {0, 90})
      if (skew == 0 || n_tokens >= 16) bench->Args({n_tokens, skew, threads});
  bench->ArgNames({"tokens", "skew", "threads"})
      ->Unit(benchmark::kMillisecond)
      ->MeasureProcessCPUTime()
      ->UseRealTime();
}

BENCHMARK_CAPTURE(MoeFfn, q4_k, DType::kQ4_K)->Apply(Shapes);
BENCHMARK_CAPTURE(MoeFfn, q4_k_down_q6_k, DType::kQ6_K)->Apply(Shapes);

}  // namespace

BENCHMARK_MAIN();
