// SPDX-License-Identifier: Apache-2.0
// How many CPUs this process may use: affinity mask and control group quota. A file that is missing
// or unreadable means no limit, as on systems without control groups.
#include "base/cpu_limit.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "base/strings.h"
#include "base/thread_pool.h"

namespace mixtral {
namespace {

std::string ReadOrEmpty(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

std::optional<int64_t> Number(std::string_view text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || value <= 0) return std::nullopt;
  return value;
}

// Microseconds of CPU per period -> whole CPUs; 0 for "max", -1 or nonsense.
int WholeCpus(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota.has_value() || !period.has_value()) return 0;
  const int64_t cpus = *quota / *period + (*quota % *period != 0 ? 1 : 0);
  return static_cast<int>(std::min<int64_t>(cpus, 1 << 20));
}

int LimitV2(const std::string& folder) {  // cpu.max: "200000 100000" or "max 100000"
  const std::string text = ReadOrEmpty(folder + "/cpu.max");
  const auto fields = Split(text, ' ');
  return fields.size() == 2 ? WholeCpus(Number(fields[0]), Number(fields[1])) : 0;
}

int LimitV1(const std::string& folder) {
  return WholeCpus(Number(ReadOrEmpty(folder + "/cpu.cfs_quota_us")),
                   Number(ReadOrEmpty(folder + "/cpu.cfs_period_us")));
}

int SmallestLimit(const std::string& root, std::string_view group,
                  int (*limit)(const std::string&)) {
  int smallest = 0;
  // From the group itself up to the root. In a container the group's own path is often not visible
  // and the root is the container's group.
  for (std::string path(group);; path.resize(path.find_last_of('/'))) {
    const int found = limit(root + path);
    if (found > 0 && (smallest == 0 || found < smallest)) smallest = found;
    if (path.find('/') == std::string::npos) return smallest;
  }
}

int AffinityCpus() {
  // The mask grows until the kernel's fits: machines with more than 1024 CPUs exist.
  for (int cpus = CPU_SETSIZE; cpus <= (1 << 20); cpus *= 2) {
    cpu_set_t* mask = CPU_ALLOC(cpus);
    if (mask == nullptr) break;
    const size_t size = CPU_ALLOC_SIZE(cpus);
    const bool known = sched_getaffinity(0, size, mask) == 0;
    const int count = known ? CPU_COUNT_S(size, mask) : 0;
    CPU_FREE(mask);
    if (count > 0) return count;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int CgroupCpuLimit(std::string_view membership, const std::string& mount) {
  int smallest = 0;
  for (const std::string_view line : Split(membership, '\n')) {  // "4:cpu,cpuacct:/a/b", "0::/a/b"
    const auto fields = Split(line, ':');
    if (fields.size() < 3) continue;
    const std::string_view group = line.substr(fields[0].size() + fields[1].size() + 2);
    const auto controllers = Split(fields[1], ',');
    int found = 0;
    if (fields[1].empty()) {
      found = SmallestLimit(mount, group, &LimitV2);
    } else if (std::find(controllers.begin(), controllers.end(), "cpu") != controllers.end()) {
      found = SmallestLimit(mount + "/" + std::string(fields[1]), group, &LimitV1);
    }
    if (found > 0 && (smallest == 0 || found < smallest)) smallest = found;
  }
  return smallest;
}

int AvailableCpus() {
  const int cpus = std::max(1, AffinityCpus());
  const int limit = CgroupCpuLimit(ReadOrEmpty("/proc/self/cgroup"), "/sys/fs/cgroup");
  return limit > 0 ? std::min(cpus, limit) : cpus;
}

}  // namespace mixtral
