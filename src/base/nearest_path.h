// SPDX-License-Identifier: Apache-2.0
// The file that somebody may have meant by a path that does not exist. For error messages.
#pragma once

#include <string>

namespace mixtral {

/// "; did you mean 'models/tiny.gguf'?" for the entry whose name is nearest to the first part of
/// path that is not there, within the folder that is; empty when none is near.
std::string NearestPathHint(const std::string& path);

}  // namespace mixtral
