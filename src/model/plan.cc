// SPDX-License-Identifier: Apache-2.0
// Adds up tensor sizes. Experts are told from other tensors by their name alone, so that the plan
// needs no second walk over roles.
#include "model/plan.h"

#include "model/kv_cache.h"
#include "spec/names.h"

namespace mixtral {

MemoryPlan PlanMemory(const Checkpoint& checkpoint, const ModelConfig& config, DType kv_dtype) {
  MemoryPlan plan;
  const NamingScheme scheme = SchemeOf(checkpoint.kind());
  const std::string embedding = TensorName(scheme, TensorRole::kEmbedding);
  uint64_t expert_bytes = 0, other_bytes = 0;
  for (const std::string& name : checkpoint.Names()) {
    const TensorView* view = checkpoint.Find(name);
    const uint64_t bytes = view->bytes.size();
    plan.weight_bytes += bytes;
    plan.bytes_by_type[std::string(Name(view->dtype))] += bytes;
    if (config.n_experts > 0 && IsExpertTensor(scheme, name))
      expert_bytes += bytes;
    else if (name != embedding || config.tied_embeddings)  // tied: read whole, as the output
      other_bytes += bytes;
  }
  const auto n_experts = static_cast<uint64_t>(config.n_experts);
  plan.active_bytes = other_bytes;
  // K of E is exact where the experts of a layer have one type, and else the average.
  if (n_experts > 0)
    plan.active_bytes += expert_bytes / n_experts * static_cast<uint64_t>(config.experts_per_token);
  plan.kv_bytes_per_position = KvCache::BytesPerPosition(config, kv_dtype);
  return plan;
}

}  // namespace mixtral
