// SPDX-License-Identifier: Apache-2.0
// The id of a token in a vocabulary: shared by text, which makes ids, and model, which computes on
// them.
#pragma once

#include <cstdint>

namespace mixtral {

using TokenId = int32_t;

}  // namespace mixtral
