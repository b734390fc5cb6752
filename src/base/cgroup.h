// SPDX-License-Identifier: Apache-2.0
// Walks the control groups of this process (v1 and v2) for a limit: what base/cpu_limit.cc and
// base/memory_limit.cc have in common. A file that is missing or unreadable means no limit, as on
// systems without control groups.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mixtral {

/// The text of a small file, or "" when it cannot be read.
std::string ReadOrEmpty(const std::string& path);
/// A decimal above 0 at the beginning of text; nullopt for "max", "-1" and nonsense.
std::optional<int64_t> PositiveNumber(std::string_view text);

/// The limit of one group's folder; 0: none.
using GroupLimit = std::function<int64_t(const std::string& folder)>;

/// The smallest limit from the own group up to the root, or 0 when there is none. `membership` is
/// the text of /proc/self/cgroup, `mount` where the groups are mounted; v1 groups are those of
/// `controller`. In a container the group's own path is often not visible and the root is the
/// container's group.
int64_t SmallestGroupLimit(std::string_view membership, const std::string& mount,
                           std::string_view controller, const GroupLimit& v1, const GroupLimit& v2);

}  // namespace mixtral
