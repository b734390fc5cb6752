// SPDX-License-Identifier: Apache-2.0
// Activation checkpointing: the forward pass of a layer keeps its input alone, the backward pass
// runs the layer again (Chen et al. 2016). Used by model.cc.
#pragma once

#include <functional>
#include <vector>

#include "train/torch.h"

namespace mixtral::train {

/// hidden [N, D] -> outputs; the first three and the last may be differentiable.
using LayerFunction = std::function<std::vector<Tensor>(const Tensor&)>;

/// run(hidden) without its graph. leaves: every tensor that requires a gradient and that run uses.
std::vector<Tensor> RunCheckpointed(const LayerFunction& run, const Tensor& hidden,
                                    const std::vector<Tensor>& leaves);

}  // namespace mixtral::train
