// SPDX-License-Identifier: Apache-2.0
// /proc/meminfo, and memory.max (v2) or memory.limit_in_bytes (v1) of the control groups.
#include "base/memory_limit.h"

#include <algorithm>

#include "base/cgroup.h"
#include "base/strings.h"

namespace mixtral {
namespace {

/// The number behind "NAME" and blanks at the beginning of a line; 0 when there is none.
uint64_t Field(std::string_view text, std::string_view name) {
  for (const std::string_view line : Split(text, '\n')) {
    if (!line.starts_with(name)) continue;
    const std::string_view rest = line.substr(name.size());
    const size_t digits = rest.find_first_not_of(" \t");
    if (digits == 0 || digits == std::string_view::npos) continue;  // a longer name, or no value
    return static_cast<uint64_t>(PositiveNumber(rest.substr(digits)).value_or(0));
  }
  return 0;
}

/// Limit less use, at least 1 so that a full group is not one without a limit. v1 writes a number
/// near 2^63 for "no limit".
int64_t Left(const std::string& folder, const char* limit_file, const char* usage_file,
             std::string_view inactive, std::string_view active) {
  constexpr int64_t kNoLimit = int64_t{1} << 60;
  const auto limit = PositiveNumber(ReadOrEmpty(folder + "/" + limit_file));
  if (!limit || *limit >= kNoLimit) return 0;
  const int64_t used = PositiveNumber(ReadOrEmpty(folder + "/" + usage_file)).value_or(0);
  const std::string stat = ReadOrEmpty(folder + "/memory.stat");
  const auto file_pages = static_cast<int64_t>(Field(stat, inactive) + Field(stat, active));
  return std::max<int64_t>(1, *limit - std::max<int64_t>(0, used - file_pages));
}

int64_t LeftV2(const std::string& folder) {
  return Left(folder, "memory.max", "memory.current", "inactive_file", "active_file");
}

int64_t LeftV1(const std::string& folder) {
  return Left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
              "total_active_file");
}

}  // namespace

uint64_t MemoryLimits::Left() const {
  return group_left ? std::min(available, *group_left) : available;
}

MemoryLimits ParseMemoryInfo(std::string_view text) {
  constexpr uint64_t kUnit = 1024;  // the file's "kB"
  MemoryLimits limits;
  limits.total = Field(text, "MemTotal:") * kUnit;
  limits.available = Field(text, "MemAvailable:") * kUnit;
  return limits;
}

std::optional<uint64_t> CgroupMemoryLeft(std::string_view membership, const std::string& mount) {
  const int64_t left = SmallestGroupLimit(membership, mount, "memory", &LeftV1, &LeftV2);
  if (left == 0) return std::nullopt;
  return static_cast<uint64_t>(left);
}

MemoryLimits ReadMemoryLimits() {
  MemoryLimits limits = ParseMemoryInfo(ReadOrEmpty("/proc/meminfo"));
  limits.group_left = CgroupMemoryLeft(ReadOrEmpty("/proc/self/cgroup"), "/sys/fs/cgroup");
  return limits;
}

}  // namespace mixtral
