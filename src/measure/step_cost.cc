// SPDX-License-Identifier: Apache-2.0
// Adds up the matrices of a loaded model. Embedding rows are left out: a row per token is nothing
// beside the matrices.
#include "measure/step_cost.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "model/kv_cache.h"

namespace mixtral {
namespace {

/// Bytes of gate, up and down of every expert of a layer.
std::vector<uint64_t> BytesOfExperts(ExpertStore& store, int layer, int n_experts) {
  std::vector<int32_t> ids(static_cast<size_t>(n_experts));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::vector<uint64_t> bytes(ids.size());
  std::vector<ExpertLease> leases(ids.size());
  store.Begin(layer, ids);
  while (const int n = store.NextWave(leases)) {
    for (int i = 0; i < n; ++i) {
      const ExpertLease& lease = leases[static_cast<size_t>(i)];
      bytes[static_cast<size_t>(lease.expert_id)] =
          lease.weights.gate.Bytes() + lease.weights.up.Bytes() + lease.weights.down.Bytes();
    }
  }
  return bytes;
}

double MatrixOps(int64_t rows, int64_t cols) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(cols);
}

}  // namespace

ModelCost::ModelCost(const LoadedModel& model, DType kv_dtype)
    : window_(model.config.sliding_window > 0 ? model.config.sliding_window
                                              : std::numeric_limits<int64_t>::max()) {
  const ModelConfig& c = model.config;
  const int64_t q_width = int64_t{c.n_heads} * c.head_dim;
  const int64_t kv_width = int64_t{c.n_kv_heads} * c.head_dim;
  const int n_active = std::max(c.experts_per_token, 1);
  for (int layer = 0; layer < c.n_layers; ++layer) {
    const LayerWeights& w = model.weights.layers[static_cast<size_t>(layer)];
    for (const WeightRef* ref : {&w.attn_norm, &w.q, &w.k, &w.v, &w.o, &w.ffn_norm})
      shared_bytes_ += ref->Bytes();
    if (!w.router.empty()) shared_bytes_ += w.router.Bytes();
    auto experts = BytesOfExperts(*model.experts, layer, std::max(c.n_experts, 1));
    if (c.n_experts > 0)
      expert_bytes_.push_back(std::move(experts));
    else
      shared_bytes_ += experts.front();
  }
  shared_bytes_ += model.weights.final_norm.Bytes();
  output_bytes_ = model.weights.output.Bytes();
  kv_bytes_per_position_ = KvCache::BytesPerPosition(c, kv_dtype);
  ops_per_token_ =
      c.n_layers * (2 * MatrixOps(q_width, c.dim) + 2 * MatrixOps(kv_width, c.dim) +
                    MatrixOps(c.n_experts, c.dim) + 3.0 * n_active * MatrixOps(c.ffn_dim, c.dim));
  ops_per_logit_row_ = MatrixOps(c.vocab_size, c.dim);
  ops_per_position_ = 2 * MatrixOps(q_width, c.n_layers);  // scores, and the sum of values
}

StepCost ModelCost::Logits(int64_t n_rows) const {
  if (n_rows == 0) return {};
  return {output_bytes_, ops_per_logit_row_ * static_cast<double>(n_rows)};
}

StepCost ModelCost::Attention(int64_t start, int64_t n_rows) const {
  const int64_t first_seen = start + 1 > window_ ? start + 1 - window_ : 0;
  int64_t visible = 0;
  for (int64_t p = start; p < start + n_rows; ++p) visible += std::min(p + 1, window_);
  return {static_cast<uint64_t>(start + n_rows - first_seen) * kv_bytes_per_position_,
          ops_per_position_ * static_cast<double>(visible)};
}

ExpertCounter::ExpertCounter(const ModelCost* cost, const ModelConfig& config)
    : cost_(cost),
      tokens_(static_cast<size_t>(config.n_layers),
              std::vector<int64_t>(static_cast<size_t>(config.n_experts))) {}

void ExpertCounter::OnRouting(int layer, const Batch& /*batch*/, const Routing& routing,
                              Matrix<const float> /*router_logits*/) {
  std::vector<int64_t>& tokens = tokens_[static_cast<size_t>(layer)];
  for (size_t e = 0; e < tokens.size(); ++e) {
    const int32_t n = routing.offsets[e + 1] - routing.offsets[e];
    if (n == 0) continue;
    tokens[e] += n;
    touched_bytes_ += cost_->ExpertBytes(layer, static_cast<int>(e));
  }
}

uint64_t ExpertCounter::TakeTouchedBytes() { return std::exchange(touched_bytes_, 0); }

double ExpertCounter::MaxOverMean() const {
  double sum = 0;
  for (const std::vector<int64_t>& tokens : tokens_) {
    int64_t most = 0, total = 0;
    for (const int64_t n : tokens) {
      most = std::max(most, n);
      total += n;
    }
    if (total == 0) return 0;
    sum +=
        static_cast<double>(most) * static_cast<double>(tokens.size()) / static_cast<double>(total);
  }
  return tokens_.empty() ? 0 : sum / static_cast<double>(tokens_.size());
}

}  // namespace mixtral
