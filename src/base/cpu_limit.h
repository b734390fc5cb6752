// SPDX-License-Identifier: Apache-2.0
// The CPU quota that a container or a service manager has set, read from the control groups (v1 and
// v2). Used by AvailableCpus of base/thread_pool.h; a header of its own so that tests can point it
// at a made-up tree.
#pragma once

#include <string>
#include <string_view>

namespace mixtral {

/// Whole CPUs that the quota of this process allows (rounded up), or 0 when there is none.
/// `membership` is the text of /proc/self/cgroup, `mount` where the groups are mounted
/// (/sys/fs/cgroup). The smallest quota from the own group up to the root counts.
int CgroupCpuLimit(std::string_view membership, const std::string& mount);

}  // namespace mixtral
