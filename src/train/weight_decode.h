// SPDX-License-Identifier: Apache-2.0
// Weights of a checkpoint as f32, whatever type they are stored in. Used by the model (a frozen
// quantised base) and by weights.cc.
#pragma once

#include "train/torch.h"

namespace mixtral {
struct TensorView;
}

namespace mixtral::train {

struct Parameter;

/// A view's values, f32 [rows, cols] or [n]. n_heads > 0: rows of each head come in interleaved
/// rotation order and leave in Hugging Face's. Throws kUnsupported for integers.
Tensor DecodeView(const TensorView& view, int n_heads);

/// The quantised value of a parameter.
Tensor DecodeWeight(const Parameter& parameter);

}  // namespace mixtral::train
