// SPDX-License-Identifier: Apache-2.0
// Runs a Python program that nobody has read, as the code benchmarks do with what a model wrote:
// without network, without the machine's files and processes, within limits of time, memory,
// threads and file size, in an empty temporary folder that goes with it. Where the kernel does not
// give all of that, nothing is run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "eval/syscall_filter.h"

namespace mixtral::eval {

struct SandboxLimits {
  double seconds = 3;  // of the clock, start of Python included; processor time: a second more
  uint64_t memory_bytes = uint64_t{512} << 20;  // address space; there is one process
  uint64_t file_bytes = uint64_t{16} << 20;     // all files of the temporary folder together
  int n_threads = 16;
  size_t output_bytes = size_t{64} << 10;  // kept of what it prints; the rest is read and dropped
};

enum class ProgramEnd {
  kFinished,  // every line of it was run
  kStopped,   // it ended before its end: an exception, an exit
  kKilled,    // by a signal
  kTimedOut,
};

struct ProgramResult {
  ProgramEnd end = ProgramEnd::kStopped;
  int signal = 0;           // of kKilled
  std::string output = {};  // stdout and stderr together, not necessarily UTF-8
};

/// Isolation: user, mount, process, network, IPC, host name and control group namespaces; a root
/// folder that has /usr read-only and /tmp alone; no capabilities, no_new_privs; a filter that
/// denies new processes, sockets and what else a calculation does not need; resource limits. As
/// root the process becomes "nobody" (65534) first.
class Sandbox {
 public:
  /// Tries the isolation with a program that attempts what it must not be able to do. Throws
  /// Error{kUnsupported} with what is missing, Error{kInternal} when an attempt succeeded. python:
  /// a path under /usr.
  explicit Sandbox(const SandboxLimits& limits = {}, std::string python = "/usr/bin/python3");

  /// Runs the source with __name__ "builtins" and its standard input at the end, in a Python of its
  /// own. Throws Error{kUnsupported, kIo} when it could not be started.
  ProgramResult Run(std::string_view source) const;
  void set_seconds(double seconds) { limits_.seconds = seconds; }

 private:
  void Prove() const;

  SandboxLimits limits_;
  std::string python_;
  SyscallFilter filter_;
};

}  // namespace mixtral::eval
