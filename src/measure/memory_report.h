// SPDX-License-Identifier: Apache-2.0
// What `info` says about memory and speed on this machine: pure functions of sizes, so that tests
// can make up a machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/memory_limit.h"
#include "model/plan.h"

namespace mixtral {

/// How fast this machine reads, measured a moment ago.
struct ReadSpeed {
  double bytes_per_s = 0;
  int threads = 1;
};
/// All CPUs of this process over a memory file larger than the caches, for about 0.2 s. nullopt
/// where there is too little memory for that. Throws what ReadProbe throws.
std::optional<ReadSpeed> MeasureReadSpeed(const MemoryLimits& limits);

enum class Fit : uint8_t {
  kYes,       // weights, cache and scratch together
  kFromDisk,  // cache and scratch fit; weights are read from disk again and again
  kNo,        // not even the memory that is not mapped from the file
};
std::string_view FitName(Fit fit);  // "yes", "from disk", "no"
/// anonymous: bytes of cache and scratch; weights are mapped, the page cache holds what fits.
Fit FitOf(uint64_t weight_bytes, uint64_t anonymous_bytes, const MemoryLimits& limits);

/// {weights, scratch, total, available, group_left, read_gb_per_s, threads, decode_tokens_per_s,
/// contexts: [{positions, beyond_model, kv: {F16, F32}, fits, decode_tokens_per_s}]}; null where it
/// is not known. fits and speed are those of an f16 cache. Speed: read speed over the bytes of one
/// token.
Json DescribeMemory(const ModelConfig& config, const MemoryPlan& plan, const MemoryLimits& limits,
                    const std::optional<ReadSpeed>& speed);
}  // namespace mixtral
