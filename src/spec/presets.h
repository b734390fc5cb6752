// SPDX-License-Identifier: Apache-2.0
// Named shapes for models of random weights: `mixtral bench` and tests. Never used to open a
// checkpoint: what a file is stands in the file.
#pragma once

#include <span>
#include <string_view>

#include "spec/config.h"

namespace mixtral {

/// "mixtral-8x7b", "mixtral-8x22b", "mistral-7b", "llama-2-70b", "tiny".
std::span<const std::string_view> PresetNames();
/// The whole model of that name. Throws Error{kInvalidArgument} listing the names.
ModelConfig PresetConfig(std::string_view name);

}  // namespace mixtral
