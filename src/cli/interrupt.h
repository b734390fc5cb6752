// SPDX-License-Identifier: Apache-2.0
// Ctrl-C as a flag that long work looks at between its steps. The second one kills.
#pragma once

#include <atomic>

namespace mixtral::cli {

/// While one lives, the first SIGINT sets the flag (and ends waiting reads with EINTR); a second
/// one ends the process as usual. One at a time.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  const std::atomic<bool>* flag() const;
  bool interrupted() const { return flag()->load(); }
};

}  // namespace mixtral::cli
