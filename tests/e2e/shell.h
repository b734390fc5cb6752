// SPDX-License-Identifier: Apache-2.0
// Shell command lines around the mixtral binary: other programs that read what it prints, and
// terminals. Used by the end-to-end tests.
#pragma once

#include <string>

namespace mixtral::testing {

struct ShellResult {
  int exit_code = -1;
  std::string out;  // standard output and error
};

/// Runs `command` with bash; $MIXTRAL is the binary.
ShellResult Shell(const std::string& command);
/// Whether a program is installed. Tests that need one skip without it.
bool HasProgram(const std::string& name);
/// What `command` writes to a terminal of its own (by script(1)): standard streams are one.
ShellResult InTerminal(const std::string& command, const std::string& term = "xterm");

}  // namespace mixtral::testing
