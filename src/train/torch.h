// SPDX-License-Identifier: Apache-2.0
// The one place that includes LibTorch for the trainer, precompiled: tensors and autograd alone.
// Not torch/torch.h, whose modules, optimisers and data loaders are not used and cost half of the
// compile time.
#pragma once

#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace mixtral::train {

using torch::Tensor;

}  // namespace mixtral::train
