// SPDX-License-Identifier: Apache-2.0
// Adds up tensor sizes. Experts are told from other tensors by their name alone, so that the plan
// needs no second walk over roles.
#include "model/plan.h"

#include <set>

#include "model/kv_cache.h"
#include "spec/names.h"

namespace mixtral {

namespace {

/// Names of all tensors that hold experts.
std::set<std::string> ExpertNames(const Checkpoint& checkpoint, const ModelConfig& config) {
  std::set<std::string> names;
  if (config.n_experts == 0) return names;
  const NamingScheme scheme = SchemeOf(checkpoint.kind());
  for (const TensorRole role :
       {TensorRole::kExpertGate, TensorRole::kExpertUp, TensorRole::kExpertDown})
    for (int layer = 0; layer < config.n_layers; ++layer) {
      names.insert(MergedExpertsName(role, layer));
      for (int expert = 0; expert < config.n_experts; ++expert)
        names.insert(TensorName(scheme, role, layer, expert));
    }
  return names;
}

}  // namespace

MemoryPlan PlanMemory(const Checkpoint& checkpoint, const ModelConfig& config, DType kv_dtype) {
  MemoryPlan plan;
  const std::set<std::string> experts = ExpertNames(checkpoint, config);
  const std::string embedding = TensorName(SchemeOf(checkpoint.kind()), TensorRole::kEmbedding);
  uint64_t expert_bytes = 0, other_bytes = 0;
  for (const std::string& name : checkpoint.Names()) {
    const TensorView* view = checkpoint.Find(name);
    const uint64_t bytes = view->bytes.size();
    plan.weight_bytes += bytes;
    plan.bytes_by_type[std::string(Name(view->dtype))] += bytes;
    if (experts.contains(name))
      expert_bytes += bytes;
    else if (name != embedding || config.tied_embeddings)  // tied: read whole, as the output
      other_bytes += bytes;
  }
  const auto n_experts = static_cast<uint64_t>(config.n_experts);
  plan.active_bytes = other_bytes;
  // Experts of one layer have one size, so K of E is exact.
  if (n_experts > 0)
    plan.active_bytes += expert_bytes / n_experts * static_cast<uint64_t>(config.experts_per_token);
  plan.kv_bytes_per_position = KvCache::BytesPerPosition(config, kv_dtype);
  return plan;
}

}  // namespace mixtral
