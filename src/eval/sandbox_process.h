// SPDX-License-Identifier: Apache-2.0
// The child side of sandbox.cc: from fork to the start of Python. The program that forks may have
// threads, so nothing here allocates, locks or throws; strings are made before.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "eval/sandbox.h"

namespace mixtral::eval {

enum class SandboxStage : int32_t {
  kBecomeNobody,
  kNamespaces,
  kUserMap,
  kProcess,
  kMounts,
  kRoot,
  kCapabilities,
  kLimits,
  kFilter,
  kPython,
  kDone,  // not a failure: detail is Python's wait status
};

/// What the child tells its parent, once.
struct SandboxNews {
  SandboxStage stage;
  int32_t detail;  // errno of a failure
};

/// Everything a child needs, made before the fork.
struct SandboxPlan {
  const SandboxLimits* limits;
  const SyscallFilter* filter;
  std::array<const char*, 6> arguments;    // of Python, nullptr at the end
  std::array<const char*, 7> environment;  // nullptr at the end
  int parent_pid;
  bool is_root;
  std::string user_map, group_map;
  std::string scratch_options;  // of the file system under /tmp
  int program_fd, output_fd, report_fd;
  int news_fd;
};

[[noreturn]] void RunSandboxChild(const SandboxPlan& plan);

}  // namespace mixtral::eval
