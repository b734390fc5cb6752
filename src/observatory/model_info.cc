// SPDX-License-Identifier: Apache-2.0
// Routers are small and differ between any two models that were trained apart.
#include "observatory/model_info.h"

#include "base/error.h"
#include "base/sha256.h"
#include "spec/names.h"

namespace mixtral::observatory {
namespace {

std::string Fingerprint(const Checkpoint& checkpoint, const ModelConfig& config) {
  Sha256 hash;
  for (const std::string& name : checkpoint.Names()) {
    const TensorView* view = checkpoint.Look(name);
    hash.Update(fmt::format("{} {} {}\n", name, Name(view->dtype), fmt::join(view->shape, " ")));
  }
  const NamingScheme scheme = SchemeOf(checkpoint.kind());
  for (int layer = 0; layer < config.n_layers; ++layer)
    if (const TensorView* view = checkpoint.Find(TensorName(scheme, TensorRole::kRouter, layer)))
      hash.Update(view->bytes);
  return Hex(hash.Finish());
}

}  // namespace

TraceInfo DescribeModel(const Engine& engine, int k) {
  const ModelConfig& config = engine.config();
  const std::string& path = engine.checkpoint().path();
  if (config.n_experts < 1 || config.n_experts > kMaxTraceExperts)
    Throw(ErrorCode::kUnsupported, "routing: expected a model with 1..{} experts, found {}, in {}",
          kMaxTraceExperts,
          config.n_experts == 0 ? "a dense one" : std::to_string(config.n_experts), path);
  TraceInfo info = {.model = path,
                    .fingerprint = Fingerprint(engine.checkpoint(), config),
                    .n_layers = config.n_layers,
                    .n_experts = config.n_experts,
                    .k = k > 0 ? k : config.experts_per_token,
                    .vocab_size = config.vocab_size,
                    .dim = config.dim};
  ModelConfig one = config, two = config;
  one.experts_per_token = 1;
  two.experts_per_token = 2;
  // What one more expert a token costs in every layer, by the plan's own accounting.
  const uint64_t with_one = PlanMemory(engine.checkpoint(), one, DType::kF16).active_bytes;
  const uint64_t layer_experts =
      PlanMemory(engine.checkpoint(), two, DType::kF16).active_bytes - with_one;
  info.expert_bytes = layer_experts / static_cast<uint64_t>(config.n_layers);
  info.other_bytes = with_one - layer_experts;
  return info;
}

}  // namespace mixtral::observatory
