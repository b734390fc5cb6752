// SPDX-License-Identifier: Apache-2.0
// How many CPUs this process may use: affinity mask and control group quota.
#include "base/cpu_limit.h"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "base/cgroup.h"
#include "base/strings.h"
#include "base/thread_pool.h"

namespace mixtral {
namespace {

// Microseconds of CPU per period -> whole CPUs; 0 for "max", -1 or nonsense.
int64_t WholeCpus(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota.has_value() || !period.has_value()) return 0;
  const int64_t cpus = *quota / *period + (*quota % *period != 0 ? 1 : 0);
  return std::min<int64_t>(cpus, 1 << 20);
}

int64_t LimitV2(const std::string& folder) {  // cpu.max: "200000 100000" or "max 100000"
  const std::string text = ReadOrEmpty(folder + "/cpu.max");
  const auto fields = Split(text, ' ');
  return fields.size() == 2 ? WholeCpus(PositiveNumber(fields[0]), PositiveNumber(fields[1])) : 0;
}

int64_t LimitV1(const std::string& folder) {
  return WholeCpus(PositiveNumber(ReadOrEmpty(folder + "/cpu.cfs_quota_us")),
                   PositiveNumber(ReadOrEmpty(folder + "/cpu.cfs_period_us")));
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
  return static_cast<int>(SmallestGroupLimit(membership, mount, "cpu", &LimitV1, &LimitV2));
}

int AvailableCpus() {
  const int cpus = std::max(1, AffinityCpus());
  const int limit = CgroupCpuLimit(ReadOrEmpty("/proc/self/cgroup"), "/sys/fs/cgroup");
  return limit > 0 ? std::min(cpus, limit) : cpus;
}

}  // namespace mixtral
