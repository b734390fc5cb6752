// SPDX-License-Identifier: Apache-2.0
// Check(condition, message): our own bugs. Must be unreachable from any input; input errors use
// base/error.h. A plain function with the caller's place as default arguments (Clang 14 lacks
// std::source_location).
#pragma once

namespace mixtral {

[[noreturn]] void CheckFailed(const char* message, const char* file, int line) noexcept;

inline void Check(bool condition, const char* message, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) noexcept {
  if (!condition) [[unlikely]]
    CheckFailed(message, file, line);
}

}  // namespace mixtral
