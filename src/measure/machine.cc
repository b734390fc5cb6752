// SPDX-License-Identifier: Apache-2.0
// Reads /proc/cpuinfo and /sys/devices/system/cpu.
#include "measure/machine.h"

#include <fmt/format.h>

#include <set>

#include "base/cgroup.h"
#include "base/memory_limit.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace mixtral {
namespace {

constexpr int kMostCpus = 4096;

/// "8192K" or "32M" -> bytes.
uint64_t CacheBytes(std::string_view text) {
  const auto number = static_cast<uint64_t>(PositiveNumber(text).value_or(0));
  const size_t unit = text.find_first_not_of("0123456789");
  if (unit == std::string_view::npos) return number;
  if (text[unit] == 'K') return number << 10;
  if (text[unit] == 'M') return number << 20;
  return number;
}

}  // namespace

std::string CpuName(std::string_view cpuinfo) {
  for (const std::string_view line : Split(cpuinfo, '\n')) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(':');
    const size_t begin = line.find_first_not_of(" \t", colon == line.npos ? colon : colon + 1);
    if (begin != line.npos) return std::string(line.substr(begin));
  }
  return "unknown";
}

uint64_t TotalL3Bytes(const std::string& folder) {
  std::set<std::string> seen;
  uint64_t total = 0;
  for (int cpu = 0; cpu < kMostCpus; ++cpu) {
    const std::string cache = fmt::format("{}/cpu{}/cache/index3/", folder, cpu);
    const std::string size = ReadOrEmpty(cache + "size");
    if (size.empty()) break;
    if (seen.insert(ReadOrEmpty(cache + "shared_cpu_list")).second) total += CacheBytes(size);
  }
  return total;
}

Machine ThisMachine() {
  return {.cpu = CpuName(ReadOrEmpty("/proc/cpuinfo")),
          .cpus = AvailableCpus(),
          .l3_bytes = TotalL3Bytes("/sys/devices/system/cpu"),
          .memory_bytes = ReadMemoryLimits().total};
}

}  // namespace mixtral
