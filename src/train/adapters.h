// SPDX-License-Identifier: Apache-2.0
// LoRA (Hu et al. 2021) on chosen matrices: attention, all experts or some of them. Export merges
// them, since a parameter's value includes its adapter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/model.h"

namespace mixtral::train {

struct AdapterOptions {
  int64_t rank = 8;
  double alpha = 16;
  std::vector<std::string> targets;  // q k v o experts router expert:LAYER:INDEX
  uint64_t seed = 0;
};

/// Freezes everything, then adds adapters to the targets' matrices (a random, b zero: the model is
/// unchanged). "router" trains the routers themselves, which are small. Throws kInvalidArgument for
/// a target that the model does not have.
void AttachAdapters(const AdapterOptions& options, Model* model);

/// The model without its adapters; shares the tensors. Frozen.
Model WithoutAdapters(const Model& model);

}  // namespace mixtral::train
