// SPDX-License-Identifier: Apache-2.0
// The sandbox for tests, or the reason for which they are skipped.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "eval/sandbox.h"

namespace mixtral::eval {

/// Patient: a first start of Python takes seconds on a loaded machine. Throws what shows that the
/// isolation does not hold.
inline std::optional<Sandbox> PatientSandbox(std::string* why_not) {
  if (!std::filesystem::exists("/usr/bin/python3")) {
    *why_not = "no /usr/bin/python3";
    return std::nullopt;
  }
  try {
    return Sandbox(SandboxLimits{.seconds = 60});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    *why_not = error.what();
    return std::nullopt;
  }
}

}  // namespace mixtral::eval
