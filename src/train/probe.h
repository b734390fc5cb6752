// SPDX-License-Identifier: Apache-2.0
// `mixtral-train probe`: losses, gradients and updated parameters of a given checkpoint on given
// batches, in one file, so that two trainers can be compared (docs/training.md).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/torch.h"

namespace mixtral::train {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// golden: a file in the form of the training goldens: optimizer, batches, padded and dpo are read.
/// Throws kCorrupt naming the JSON path.
NamedTensors Probe(const std::string& checkpoint, const std::string& golden);

}  // namespace mixtral::train
