// SPDX-License-Identifier: Apache-2.0
// What a trace says of the model that it was recorded from.
#pragma once

#include "engine/engine.h"
#include "observatory/trace.h"

namespace mixtral::observatory {

/// k: experts of a token, 0 = the model's own. The fingerprint is the SHA-256 of every tensor's
/// name, type and shape and of the routers' bytes. Throws Error{kUnsupported} for a dense model and
/// for one of more experts than a trace holds.
TraceInfo DescribeModel(const Engine& engine, int k = 0);

}  // namespace mixtral::observatory
