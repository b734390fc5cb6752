// SPDX-License-Identifier: Apache-2.0
// Which expert gets which token: top-k choice with its weights (paper section 2.1), and the lists
// of tokens per expert. Pure host logic without I/O; the CPU backend calls it, a CUDA router is
// tested against it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/view.h"

namespace mixtral {

/// A sequence's own routing; the default value is the model's own. Applies to every layer.
struct RoutingPolicy {
  int k = 0;  // experts per token; 0 = the model's
  std::vector<int>
      force;  // always among the chosen k (at most k of them); their weights come from their logits
  std::vector<int> ban;  // never chosen
  std::vector<float>
      bias;  // [E] or empty: added to the logits for the choice only, never to the weights

  /// Throws Error{kInvalidArgument} naming the field when it cannot be met with n_experts, or when
  /// k is above max_k.
  void Validate(int n_experts, int model_k, int max_k) const;
};

/// The result for one layer and batch. K is the largest k of the batch; a row with a smaller k ends
/// in id -1, weight 0. slot = t*K + k. The CSR lists order an expert's slots by token.
struct Routing {
  Matrix<const int32_t> expert_ids;  // [T, K] heaviest first; equal logits: lower id first
  Matrix<const float> weights;       // [T, K] softmax over the chosen logits
  std::span<const int32_t> offsets;  // [E + 1] expert e owns slots[offsets[e] .. offsets[e+1])
  std::span<const int32_t> slots;    // [number of assignments]
};

/// Owns the memory behind a Routing, sized once; the functions below fill it without allocating.
class RoutingBuffer {
 public:
  RoutingBuffer(int max_tokens, int max_k, int n_experts);

  /// logits [T, E]; policies one per row (nullptr = the model's own), or empty = all the model's
  /// own. Chooses, weighs and groups. T <= max_tokens, k <= max_k (checked when the batch was
  /// built).
  Routing Route(Matrix<const float> logits, int model_k,
                std::span<const RoutingPolicy* const> row_policies);
  /// A dense FFN as the special case of one expert without a router: every token to expert 0 with
  /// weight 1.
  Routing RouteDense(int n_tokens);

 private:
  void ChooseRow(const float* logits, const RoutingPolicy* policy, std::span<int32_t> ids);
  Routing GroupByExpert(int n_tokens, int k, int n_experts);

  int max_tokens_, max_k_, n_experts_;
  std::vector<int32_t> ids_, offsets_, slots_, cursor_;
  std::vector<float> weights_;
  std::vector<float> keyed_;     // [E] logits + bias of one row
  std::vector<uint8_t> chosen_;  // [E] free, chosen or banned
};

}  // namespace mixtral
