// SPDX-License-Identifier: Apache-2.0
// Adds up tensor sizes. Experts are told from other tensors by their name alone, so that the plan
// needs no second walk over roles.
#include "model/plan.h"

#include <algorithm>

#include "model/kv_cache.h"
#include "spec/names.h"

namespace mixtral {

namespace {

/// What Transformer and the CPU backend hold for a step: residual stream and its kin, q, k, v,
/// their converted forms (f32, and twice about a byte), hidden rows and outputs of every chosen
/// expert, logits of one row.
uint64_t ScratchBytes(const ModelConfig& config) {
  constexpr uint64_t kRows = 512;  // TransformerOptions::max_batch_tokens
  const auto dim = static_cast<uint64_t>(config.dim), ffn = static_cast<uint64_t>(config.ffn_dim);
  const auto q = static_cast<uint64_t>(config.n_heads) * static_cast<uint64_t>(config.head_dim);
  const auto kv = static_cast<uint64_t>(config.n_kv_heads) * static_cast<uint64_t>(config.head_dim);
  const auto slots = kRows * static_cast<uint64_t>(std::max(config.experts_per_token, 1));
  const uint64_t activations = kRows * (5 * dim + 2 * q + 2 * kv) * sizeof(float);
  const uint64_t forms = kRows * std::max(dim, q) * (sizeof(float) + 2 + 2 * sizeof(float) / 8);
  const uint64_t experts = slots * (ffn * (sizeof(float) + 1) + dim * sizeof(float));
  return activations + forms + experts + static_cast<uint64_t>(config.vocab_size) * sizeof(float);
}

}  // namespace

MemoryPlan PlanMemory(const Checkpoint& checkpoint, const ModelConfig& config, DType kv_dtype) {
  MemoryPlan plan;
  const NamingScheme scheme = SchemeOf(checkpoint.kind());
  const std::string embedding = TensorName(scheme, TensorRole::kEmbedding);
  uint64_t expert_bytes = 0, other_bytes = 0;
  for (const std::string& name : checkpoint.Names()) {
    const TensorView* view = checkpoint.Look(name);
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
  plan.scratch_bytes = ScratchBytes(config);
  plan.kv_bytes_per_position = KvCache::BytesPerPosition(config, kv_dtype);
  return plan;
}

}  // namespace mixtral
