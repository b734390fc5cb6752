// SPDX-License-Identifier: Apache-2.0
// What a forward step has to read and to compute, counted from the weights themselves. The engine's
// measured speed is compared with it; docs/benchmarks.md has the definitions.
#pragma once

#include <cstdint>
#include <vector>

#include "model/loader.h"
#include "model/observer.h"
#include "tensor/dtype.h"

namespace mixtral {

/// Bytes of weights and cache that are read once, and operations: a product and its addition are
/// two.
struct StepCost {
  uint64_t bytes = 0;
  double ops = 0;

  StepCost& operator+=(const StepCost& other) {
    bytes += other.bytes;
    ops += other.ops;
    return *this;
  }
};

class ModelCost {
 public:
  ModelCost(const LoadedModel& model, DType kv_dtype);

  /// What every step reads, however many rows it has: attention, norms, routers; a dense FFN.
  uint64_t SharedBytes() const { return shared_bytes_; }
  uint64_t ExpertBytes(int layer, int expert) const {
    return expert_bytes_[static_cast<size_t>(layer)][static_cast<size_t>(expert)];
  }
  /// The matrices of all layers for one row: attention, router, K experts.
  double OpsPerToken() const { return ops_per_token_; }
  /// The output matrix: read by a step that wants logits, computed for each row that wants them.
  StepCost Logits(int64_t n_rows) const;
  /// n_rows rows at positions start and following of one sequence: keys and values read once, and
  /// the products with them.
  StepCost Attention(int64_t start, int64_t n_rows) const;

 private:
  int64_t window_;  // positions that a row sees at most
  uint64_t shared_bytes_ = 0, output_bytes_ = 0, kv_bytes_per_position_ = 0;
  double ops_per_token_ = 0, ops_per_logit_row_ = 0, ops_per_position_ = 0;
  std::vector<std::vector<uint64_t>> expert_bytes_;  // [L][E]; empty when dense
};

/// Counts what the routers chose: bytes of the experts that a step really touched, and how many
/// tokens every expert got.
class ExpertCounter final : public ForwardObserver {
 public:
  ExpertCounter(const ModelCost* cost, const ModelConfig& config);
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  /// Bytes of distinct experts since the last call: one step at a time.
  uint64_t TakeTouchedBytes();
  /// The most loaded expert's tokens over the mean, averaged over layers; 1: even. 0: none seen.
  double MaxOverMean() const;

 private:
  const ModelCost* cost_;
  uint64_t touched_bytes_ = 0;
  std::vector<std::vector<int64_t>> tokens_;  // [L][E]
};

}  // namespace mixtral
