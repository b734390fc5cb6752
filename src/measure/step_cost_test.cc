// SPDX-License-Identifier: Apache-2.0
// Bytes and operations of Mixtral 8x7B's shape, computed by hand.
#include "measure/step_cost.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "moe/resident_store.h"
#include "spec/presets.h"

namespace mixtral {
namespace {

WeightRef Ref(DType dtype, int64_t rows, int64_t cols) {
  static const char bytes = 0;  // only sizes are asked for
  return {Device::kCpu, dtype, rows, cols, &bytes, RowBytes(dtype, cols)};
}

LoadedModel Shape(ModelConfig c, DType type, DType output) {
  LoadedModel model;
  model.config = c;
  std::vector<std::vector<ExpertWeights>> experts;
  const int64_t q = int64_t{c.n_heads} * c.head_dim, kv = int64_t{c.n_kv_heads} * c.head_dim;
  for (int layer = 0; layer < c.n_layers; ++layer) {
    LayerWeights w;
    w.attn_norm = w.ffn_norm = Ref(DType::kF32, 1, c.dim);
    w.q = Ref(type, q, c.dim);
    w.k = w.v = Ref(type, kv, c.dim);
    w.o = Ref(type, c.dim, q);
    if (c.n_experts > 0) w.router = Ref(DType::kF32, c.n_experts, c.dim);
    model.weights.layers.push_back(w);
    const ExpertWeights expert = {Ref(type, c.ffn_dim, c.dim), Ref(type, c.ffn_dim, c.dim),
                                  Ref(type, c.dim, c.ffn_dim)};
    experts.emplace_back(static_cast<size_t>(std::max(c.n_experts, 1)), expert);
  }
  model.weights.final_norm = Ref(DType::kF32, 1, c.dim);
  model.weights.output = Ref(output, c.vocab_size, c.dim);
  model.experts = std::make_unique<ResidentStore>(std::move(experts));
  return model;
}

ModelConfig FourLayers(std::string_view preset) {
  ModelConfig config = PresetConfig(preset);
  config.n_layers = 4;
  return config;
}

// Per layer: q and o 4096 x 4096, k and v 1024 x 4096, router 8 x 4096 f32, two norms of 4096 f32;
// Q4_K has 144 bytes for 256 weights, Q6_K 210.
TEST(StepCost, Mixtral8x7bQ4K) {
  const LoadedModel model = Shape(FourLayers("mixtral-8x7b"), DType::kQ4_K, DType::kQ6_K);
  const ModelCost cost(model, DType::kF16);
  EXPECT_EQ(cost.SharedBytes(), 4u * (2 * 9437184 + 2 * 2359296 + 131072 + 2 * 16384) + 16384);
  EXPECT_EQ(cost.ExpertBytes(3, 7), 99090432u);  // 3 x 14336 x 4096
  EXPECT_EQ(cost.Logits(1).bytes, 107520000u);
  EXPECT_EQ(cost.Logits(0).bytes, 0u);
  // One decoded token: 0.995 GB, and 3.15 Gop without the output matrix.
  EXPECT_EQ(cost.SharedBytes() + 8 * cost.ExpertBytes(0, 0) + cost.Logits(1).bytes, 995287040u);
  EXPECT_EQ(cost.OpsPerToken(), 3154378752.0);
  EXPECT_EQ(cost.Logits(2).ops, 2 * 262144000.0);
}

TEST(StepCost, AttentionReadsTheCacheOnceAndMultipliesWhatIsVisible) {
  const LoadedModel model = Shape(FourLayers("mixtral-8x7b"), DType::kQ4_K, DType::kQ6_K);
  const ModelCost cost(model, DType::kF16);
  EXPECT_EQ(cost.Attention(0, 3).bytes, 3u * 16384);           // 4 layers x 8 heads x 2 x 128 x f16
  EXPECT_EQ(cost.Attention(0, 3).ops, (1 + 2 + 3) * 65536.0);  // 4 layers x 4096 columns x 4
  EXPECT_EQ(cost.Attention(8191, 1).bytes, 8192u * 16384);
  EXPECT_EQ(cost.Attention(8191, 1).ops, 8192 * 65536.0);
  EXPECT_EQ(ModelCost(model, DType::kF32).Attention(0, 1).bytes, 32768u);
}

TEST(StepCost, AWindowHidesWhatIsFartherBack) {
  ModelConfig config = FourLayers("mistral-7b");
  config.sliding_window = 2;
  const LoadedModel model = Shape(config, DType::kQ4_K, DType::kQ6_K);
  const ModelCost cost(model, DType::kF16);
  EXPECT_EQ(cost.Attention(5, 1).bytes, 2u * 16384);
  EXPECT_EQ(cost.Attention(5, 1).ops, 2 * 65536.0);
  EXPECT_EQ(cost.Attention(5, 3).bytes, 4u * 16384);
  EXPECT_EQ(cost.Attention(5, 3).ops, 6 * 65536.0);
  EXPECT_EQ(cost.Attention(0, 3).ops, 5 * 65536.0);
}

TEST(StepCost, ADenseModelSharesAllOfIt) {
  const LoadedModel model = Shape(FourLayers("mistral-7b"), DType::kQ8_0, DType::kQ8_0);
  const ModelCost cost(model, DType::kF16);
  // 34 bytes for 32 weights: 218103808 matrix weights a layer
  EXPECT_EQ(cost.SharedBytes(), 4u * (218103808u / 32 * 34 + 2 * 16384) + 16384);
  EXPECT_EQ(cost.OpsPerToken(), 4 * 2 * 218103808.0);
}

TEST(ExpertCounter, CountsDistinctExpertsOfAStepAndAllTokens) {
  const LoadedModel model = Shape(FourLayers("mixtral-8x7b"), DType::kQ4_K, DType::kQ6_K);
  const ModelCost cost(model, DType::kF16);
  ExpertCounter counter(&cost, model.config);
  EXPECT_EQ(counter.MaxOverMean(), 0);
  const std::array<int32_t, 9> offsets = {0, 3, 3, 4, 4, 4, 4, 4, 4};  // 3 to expert 0, 1 to 2
  Routing routing;
  routing.offsets = offsets;
  for (int layer = 0; layer < 4; ++layer) counter.OnRouting(layer, {}, routing, {});
  EXPECT_EQ(counter.TakeTouchedBytes(), 8 * cost.ExpertBytes(0, 0));
  EXPECT_EQ(counter.TakeTouchedBytes(), 0u);
  EXPECT_EQ(counter.MaxOverMean(), 3 / (4 / 8.0));
}

}  // namespace
}  // namespace mixtral
