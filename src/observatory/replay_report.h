// SPDX-License-Identifier: Apache-2.0
// A trace replayed for caches of several sizes, predictors, and numbers of devices: one JSON
// object, and tables and a page made from it. Used by `mixtral routing replay`.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "observatory/trace.h"

namespace mixtral::observatory {

struct ReplayOptions {
  std::vector<int> cache_sizes;                          // experts of all layers together
  int n_guesses = 0;                                     // experts loaded ahead in a layer; 0 = k
  std::vector<int> devices;                              // numbers of them
  int batch = 32;                                        // tokens of a step on several devices
  double memory_rate = 0, disk_rate = 0, link_rate = 0;  // bytes per second
};

/// Eight sizes, from an eighth of all experts to all of them.
std::vector<int> DefaultCacheSizes(const TraceInfo& info);
/// Experts that ram_bytes hold beside the other weights. Throws Error{kInvalidArgument} where those
/// alone do not fit.
int CacheSizeFor(const TraceInfo& info, double ram_bytes);

/// Placements that learn see the first half of the tokens; all placements are measured on the
/// second half. Throws Error{kInvalidArgument} for a trace of fewer than 2 tokens.
Json MakeReplayReport(const Trace& trace, const ReplayOptions& options);
std::string ReplayReportText(const Json& report);
std::string ReplayPage(const Json& report);

}  // namespace mixtral::observatory
