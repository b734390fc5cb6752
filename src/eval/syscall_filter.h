// SPDX-License-Identifier: Apache-2.0
// The system calls that a sandboxed program is denied, as a program for the kernel's filter.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace mixtral::eval {

using SyscallFilter = std::vector<sock_filter>;

/// Denied calls fail with EPERM ("not permitted"); a program of another architecture is killed.
/// Throws Error{kUnsupported} on a machine that the list was not written for.
SyscallFilter MakeSyscallFilter();

}  // namespace mixtral::eval
