// SPDX-License-Identifier: Apache-2.0
// The dropless mixture of experts (MegaBlocks, PAPER 3): rows are grouped by expert, every expert
// multiplies the rows it got, whatever their number, and the results are added up per token.
// Nothing is padded to a capacity and nothing is dropped; memory is linear in tokens. Called by
// model.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "train/torch.h"

namespace mixtral::train {

/// Which rows go to which expert. N tokens, K experts each; ids ascend within a token, so that
/// results are added by ascending expert.
struct Dispatch {
  std::vector<int64_t> counts;  // [E] rows per expert; they sum to N*K
  Tensor token_of;              // [N*K] int64: the token of a sorted row
  Tensor slot_of;               // [N*K] int64: token * K + k of a sorted row
  Tensor row_of;                // [N*K] int64: the sorted row of (token, k)
};

/// ids [N, K] int64, each in 0..n_experts-1 (checked).
Dispatch GroupByExpert(const Tensor& ids, int64_t n_experts);

/// x [N, D] -> rows [N*K, D] in the order of the dispatch. Differentiable.
Tensor GatherRows(const Tensor& x, const Dispatch& dispatch);

/// One expert's matrices: gate, up [F, D], down [D, F].
struct ExpertTensors {
  std::vector<Tensor> gate, up, down;  // [n_local]
};

/// rows [M, D], the first counts[0] of expert 0 and so on -> down(silu(gate x) * up x), [M, D].
/// Products are computed in `compute` (f32 or bf16), sums of gradients in the weights' own type.
/// The gradient of an expert without rows stays undefined: nothing is computed for it.
Tensor GroupedExperts(const Tensor& rows, const std::vector<int64_t>& counts,
                      const ExpertTensors& experts, torch::ScalarType compute);

/// out[n] = sum over k of weights[n, k] * rows[row_of(n, k)]. rows [N*K, D], weights [N, K].
Tensor CombineRows(const Tensor& rows, const Tensor& weights, const Dispatch& dispatch);

/// All of the above for x [N, D]; f32 on the CPU by a kernel that does all of it (expert_kernel.h),
/// on torch's threads.
Tensor DroplessExperts(const Tensor& x, const Tensor& ids, const Tensor& weights,
                       const ExpertTensors& experts, torch::ScalarType compute);

/// The same by a loop over experts with one_hot, where, index and index_add, as in common
/// implementations: what the dropless layer is tested against and measured with.
Tensor NaiveExperts(const Tensor& x, const Tensor& ids, const Tensor& weights,
                    const ExpertTensors& experts);

}  // namespace mixtral::train
