// SPDX-License-Identifier: Apache-2.0
// What the server and its model are: /v1/models, /props, /version, /health, /load, and the live
// figures of the routers, /v1/routing/stats.
#pragma once

#include <string>

#include "server/generation.h"

namespace mixtral::server {

// All answer at once, on the I/O thread.
std::string ModelList(const ServedModel& model);
/// Throws HttpError 404 for another name.
std::string ModelEntry(const ServedModel& model, const std::string& name);
std::string Props(const ServedModel& model, const std::string& version);
std::string Load(const ServiceStats& stats);
/// Per layer: share of every expert, entropy in bits, repetition. Throws HttpError 400 for a dense
/// model.
std::string RoutingStats(const ServedModel& model, const ServiceStats& stats);

}  // namespace mixtral::server
