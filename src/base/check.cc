// SPDX-License-Identifier: Apache-2.0
// The end of a failed Check: one line on standard error, then abort, so that a debugger or a core
// file shows the stack. Uses stdio alone, because nothing else can be trusted at this point.
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace mixtral {

void CheckFailed(const char* message, const char* file, int line) noexcept {
  std::fprintf(stderr, "mixtral: internal error: %s (%s:%d)\n", message, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace mixtral
