// SPDX-License-Identifier: Apache-2.0
// The readable oracle: the model of the paper in plain float32 loops over a whole sequence, without
// cache, threads, kernels or backend. Slow on purpose; everything else is compared with it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "spec/config.h"
#include "spec/names.h"

namespace mixtral::testing {

/// Everything that one forward pass computes, for T tokens.
struct ReferenceOutput {
  std::vector<float> logits;          // [T, V]
  std::vector<float> hidden;          // [L + 1, T, D] residual stream; 0 = embedding
  std::vector<float> final_norm;      // [T, D]
  std::vector<float> router_logits;   // [L, T, E]
  std::vector<int32_t> expert_ids;    // [L, T, K] heaviest first
  std::vector<float> expert_weights;  // [L, T, K]
};

class ReferenceModel {
 public:
  /// Expands all weights to float32.
  ReferenceModel(const Checkpoint& checkpoint, const ModelConfig& config);
  ReferenceOutput Forward(std::span<const int32_t> tokens) const;

 private:
  using Vec = std::vector<float>;
  struct Expert {
    Vec gate, up, down;  // [F, D], [F, D], [D, F]
  };
  struct Layer {
    Vec attn_norm, q, k, v, o, ffn_norm, router;
    std::vector<Expert> experts;  // one when dense
  };
  struct Choice {
    std::vector<int> ids;
    Vec weights;
  };

  Vec Load(const Checkpoint& checkpoint, TensorRole role, int layer, int expert) const;
  Vec Attend(const Vec& q, const std::vector<Vec>& keys, const std::vector<Vec>& values) const;
  void Rotate(Vec& heads, size_t position) const;
  Vec FeedForward(const Expert& expert, const Vec& x) const;
  Choice ChooseExperts(const Vec& router_logits) const;

  ModelConfig config_;
  NamingScheme scheme_;
  Vec embedding_, final_norm_, output_;
  std::vector<Layer> layers_;
};

}  // namespace mixtral::testing
