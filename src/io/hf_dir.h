// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder: config.json and model.safetensors, or the shards that
// model.safetensors.index.json names. Called by OpenCheckpoint.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "io/checkpoint.h"

namespace mixtral {

/// config.json and a weight file or an index are there (nothing is read).
bool IsHuggingFaceFolder(const std::string& folder);
/// Throws Error naming file and tensor or key.
std::unique_ptr<Checkpoint> OpenHuggingFaceFolder(const std::string& folder);

/// The chat template that the tokenizer's files beside the weights give, if any. Throws Error.
std::optional<std::string> ReadFolderChatTemplate(const std::string& folder);

}  // namespace mixtral
