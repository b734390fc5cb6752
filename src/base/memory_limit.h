// SPDX-License-Identifier: Apache-2.0
// How much memory this process may still take: what the system has free and what its control groups
// allow. For `info`, which says whether a model fits here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mixtral {

struct MemoryLimits {
  uint64_t total = 0;      // MemTotal
  uint64_t available = 0;  // MemAvailable: can be taken without swapping; page cache counts as free
  std::optional<uint64_t> group_left;  // what the smallest control group has left, if one limits

  /// The smaller one of available and group_left.
  uint64_t Left() const;
};

/// Of this process, now.
MemoryLimits ReadMemoryLimits();

/// From the text of /proc/meminfo; total and available are 0 where their line is missing.
MemoryLimits ParseMemoryInfo(std::string_view text);
/// Bytes that the tightest group of the process has left: its limit less what it uses, file pages
/// that can be dropped not counted as used. nullopt: no limit. Parameters as in base/cpu_limit.h.
std::optional<uint64_t> CgroupMemoryLeft(std::string_view membership, const std::string& mount);

}  // namespace mixtral
