// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a run: RUN/checkpoints/step-NNNNNNNN, each a Hugging Face folder of f32 weights
// with the state of the optimizer and the position in the data beside them. A folder appears whole
// or not at all, so a kill at any moment loses the steps since the last one and nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "train/distributed.h"
#include "train/step.h"

namespace mixtral::train {

struct RunPosition {
  int64_t step = 0, n_tokens = 0;
  Json sampler;
};

/// The newest whole checkpoint of a run's folder: its path, "" when there is none.
std::string NewestCheckpoint(const std::string& run);

/// Collective. Writes the checkpoint and removes all but the newest `keep`.
/// extra_files: name and content (tokenizer) of more files for the folder.
struct SaveOptions {
  std::string run;
  int64_t keep = 2;
  bool adapters = false;  // the trained tensors are not in model.safetensors by themselves
  std::vector<std::pair<std::string, std::string>> extra_files;
};
void SaveCheckpoint(const SaveOptions& options, const RunPosition& position, const World& world,
                    const Model& model, StepRunner* runner);

/// Reads position and state back; weights are loaded before (weights.h), adapters here. Throws
/// kCorrupt, kNotFound naming the file.
RunPosition RestoreCheckpoint(const std::string& folder, StepRunner* runner);

/// Collective: a parameter's value from whichever rank has it, on rank 0. Others get what they
/// have.
Tensor FetchParameter(const Parameter& parameter, const World& world, int n_local_experts);

}  // namespace mixtral::train
