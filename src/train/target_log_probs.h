// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of given tokens without a logits matrix of all positions: pieces of rows are
// multiplied, summed and thrown away, and made again in the backward pass. Used by model.cc.
#pragma once

#include "train/torch.h"

namespace mixtral::train {

/// hidden [M, D], output matrix [V, D], targets [M] int64 in 0..V-1 -> log-probabilities [M] f32.
Tensor PiecewiseLogProbs(const Tensor& hidden, const Tensor& output, const Tensor& targets,
                         torch::ScalarType compute);

}  // namespace mixtral::train
