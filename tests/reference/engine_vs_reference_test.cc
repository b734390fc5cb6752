// SPDX-License-Identifier: Apache-2.0
// The engine in exact mode against the readable oracle, on random tiny models of many shapes and
// every weight type. Hidden states, routing and logits are compared, not only the last number.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/loader.h"
#include "reference/reference_model.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

// Float32 sums in another order: what that may cost with logits of deviation 3.
constexpr double kTolerance = 1e-4;

template <class T>
std::vector<T> Concat(const std::vector<std::vector<T>>& parts) {
  std::vector<T> all;
  for (const std::vector<T>& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

void Compare(const std::string& path, int n_tokens, uint64_t seed) {
  HarnessOptions options;
  options.mode = ComputeMode::kExact;
  options.kv_dtype = DType::kF32;
  options.threads = 2;
  Harness harness(path, options);
  const std::vector<int32_t> tokens = RandomTokens(n_tokens, harness.config().vocab_size, seed);
  const ReferenceOutput want =
      ReferenceModel(harness.checkpoint(), harness.config()).Forward(tokens);
  Trace trace;
  std::vector<float> final_norm;
  const std::vector<float> logits = harness.RunTraced(tokens, &trace, &final_norm);
  const double logit_error = MaxAbsDifference(logits, want.logits);
  const double hidden_error = MaxAbsDifference(Concat(trace.hidden), want.hidden);
  const double router_error = MaxAbsDifference(Concat(trace.router_logits), want.router_logits);
  ::testing::Test::RecordProperty("max_logit_error", std::to_string(logit_error));
  EXPECT_LT(logit_error, kTolerance);
  EXPECT_LT(hidden_error, kTolerance);
  EXPECT_LT(router_error, kTolerance);
  EXPECT_LT(MaxAbsDifference(final_norm, want.final_norm), kTolerance);
  EXPECT_EQ(Concat(trace.expert_ids), want.expert_ids);
  EXPECT_LT(MaxAbsDifference(Concat(trace.expert_weights), want.expert_weights), kTolerance);
}

struct Shape {
  std::string name;
  int n_experts = 4, experts_per_token = 2;
  int n_heads = 4, n_kv_heads = 2, head_dim = 8;
  int dim = 32, ffn_dim = 48, n_layers = 2;
  bool tied = false;
  int sliding_window = 0;
};

class EngineVsReference : public ::testing::TestWithParam<Shape> {};

TEST_P(EngineVsReference, AgreesInEveryStage) {
  const Shape& shape = GetParam();
  ModelConfig config = TinyConfig();
  config.n_layers = shape.n_layers;
  config.dim = shape.dim;
  config.ffn_dim = shape.ffn_dim;
  config.n_heads = shape.n_heads;
  config.n_kv_heads = shape.n_kv_heads;
  config.head_dim = shape.head_dim;
  config.vocab_size = 130;
  config.n_experts = shape.n_experts;
  config.experts_per_token = shape.experts_per_token;
  config.tied_embeddings = shape.tied;
  config.sliding_window = shape.sliding_window;
  const TempDir dir;
  const TinyModel model = MakeTinyModel(config, 21, TinyValues::kF32);
  WriteHuggingFace(model, dir / "hf", DType::kF32);
  Compare(dir / "hf", 140, 1);
  WriteGguf(model, dir / "m.gguf");
  Compare(dir / "m.gguf", 17, 2);
}

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (int n_experts = 1; n_experts <= 8; ++n_experts)
    for (const int k : {1, 2, 3, 8})
      if (k <= n_experts && (k < 8 || n_experts == 8))
        shapes.push_back(
            {.name = "experts_" + std::to_string(n_experts) + "_top_" + std::to_string(k),
             .n_experts = n_experts,
             .experts_per_token = k,
             .n_layers = 1});
  for (const int head_dim : {2, 6, 8, 16, 80, 128})
    shapes.push_back({.name = "head_dim_" + std::to_string(head_dim), .head_dim = head_dim});
  for (const int group : {1, 2, 3, 4, 8})
    for (const int n_kv_heads : {1, 2})
      shapes.push_back(
          {.name = "group_" + std::to_string(group) + "_kv_" + std::to_string(n_kv_heads),
           .n_heads = group * n_kv_heads,
           .n_kv_heads = n_kv_heads});
  shapes.push_back({.name = "odd_sizes", .dim = 37, .ffn_dim = 51});
  shapes.push_back({.name = "tied", .tied = true});
  shapes.push_back({.name = "dense", .n_experts = 0, .experts_per_token = 0});
  for (const int window : {1, 20, 64, 70})
    shapes.push_back({.name = "dense_window_" + std::to_string(window),
                      .n_experts = 0,
                      .experts_per_token = 0,
                      .sliding_window = window});
  shapes.push_back({.name = "many_experts", .n_experts = 70, .experts_per_token = 5});
  shapes.push_back({.name = "deep", .n_layers = 6});
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes, EngineVsReference, ::testing::ValuesIn(Shapes()),
                         [](const auto& param) { return param.param.name; });

class WeightTypes : public ::testing::TestWithParam<DType> {};

TEST_P(WeightTypes, ExactModeIsTheFileExpandedToFloat) {
  const DType dtype = GetParam();
  const TempDir dir;
  WriteGguf(MakeTinyModel(TinyConfig256(), 9, TinyValues::kF32), dir / "m.gguf", {.dtype = dtype});
  Compare(dir / "m.gguf", 20, 3);
}

std::vector<DType> AllWeightTypes() {
  std::vector<DType> types;
  for (int i = 0; i < kNumMatrixDTypes; ++i) types.push_back(static_cast<DType>(i));
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, WeightTypes, ::testing::ValuesIn(AllWeightTypes()),
                         [](const auto& param) { return std::string(Name(param.param)); });

}  // namespace
}  // namespace mixtral::testing
