// SPDX-License-Identifier: Apache-2.0
// A tokenizer from wherever a user points: a model of any format, a bare tokenizer.model, or a
// folder that holds one. Used by `tokenize`.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "text/tokenizer.h"

namespace mixtral::cli {

/// Never nullptr. The content decides what a file is. Throws what OpenCheckpoint and Tokenizer
/// throw, and Error{kNotFound} for a model without a tokenizer.
std::unique_ptr<Tokenizer> OpenTokenizerAt(const std::string& path);

/// The chat template at the same place; nullopt when there is none. Throws what OpenCheckpoint
/// throws.
std::optional<std::string> FindChatTemplateAt(const std::string& path);

}  // namespace mixtral::cli
