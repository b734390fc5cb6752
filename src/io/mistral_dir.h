// SPDX-License-Identifier: Apache-2.0
// A Mistral-native folder: params.json and consolidated.safetensors, or the shards that
// consolidated.safetensors.index.json names. Called by OpenCheckpoint.
#pragma once

#include <memory>
#include <string>

#include "io/checkpoint.h"

namespace mixtral {

/// params.json and a weight file or an index are there (nothing is read).
bool IsMistralFolder(const std::string& folder);
/// Throws Error naming file and tensor or key.
std::unique_ptr<Checkpoint> OpenMistralFolder(const std::string& folder);

}  // namespace mixtral
