// SPDX-License-Identifier: Apache-2.0
// The experts of the first Mixtral release in PyTorch files: one matrix for all experts of a layer,
// w2 transposed. Gives them the names and shapes that every other Mistral file has. Called by
// mistral_dir.cc.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/mapped_checkpoint.h"

namespace mixtral {

using NamedViews = std::vector<std::pair<std::string, TensorView>>;

/// layers.N.block_sparse_moe.{w1,w3} [E*F, D] become E slices layers.N.feed_forward.experts.E.wI
/// .weight [F, D] where they lie, and gate.weight gets its later name. Other tensors stay.
/// n_experts 0: unknown. Throws Error{kCorrupt, kNotFound} naming the tensor; where is its file.
NamedViews SlicePackedExperts(NamedViews tensors, int64_t n_experts, const std::string& where);

/// Each layers.N.block_sparse_moe.w2 [E*F, D] of the same file becomes E tensors [D, F], transposed
/// when they are asked for.
std::vector<MadeTensor> TransposedExperts(const NamedViews& tensors, int64_t n_experts,
                                          const std::string& where);

}  // namespace mixtral
