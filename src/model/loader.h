// SPDX-License-Identifier: Apache-2.0
// A checkpoint of any format -> validated config and uploaded weights. The only code that calls
// Backend::Upload.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "io/checkpoint.h"
#include "model/weights.h"
#include "moe/expert_store.h"
#include "spec/config.h"
#include "spec/names.h"

namespace mixtral {

struct LoadedModel {
  ModelConfig config;
  RopeOrder rope_order = RopeOrder::kInterleaved;
  Weights weights;
  std::unique_ptr<ExpertStore> experts;
  std::vector<std::string> notices;
};

/// Whose tensor names a kind of checkpoint uses.
NamingScheme SchemeOf(CheckpointKind kind);

/// The config alone, with vocab_size taken from the embedding where the metadata lacks it. For
/// `info`.
ParsedConfig ReadConfig(const Checkpoint& checkpoint);

/// Checks that every tensor is there with the shape that the config asks for, and uploads it.
/// Throws Error{kNotFound, kCorrupt, kUnsupported} naming file and tensor, expected and found. The
/// checkpoint must outlive the result.
LoadedModel LoadModel(const Checkpoint& checkpoint, Backend* backend);

}  // namespace mixtral
