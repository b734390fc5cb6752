// SPDX-License-Identifier: Apache-2.0
// By popen and bash, which Debian always has.
#include "e2e/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/check.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

/// config: where programs keep theirs, so that nobody's own is read or written.
ShellResult Read(const std::string& command_line, const std::string& config) {
  setenv("MIXTRAL", MIXTRAL_BINARY, 1);
  setenv("XDG_CONFIG_HOME", config.c_str(), 1);
  FILE* pipe = popen(command_line.c_str(), "r");
  Check(pipe != nullptr, "popen");
  ShellResult result;
  char buffer[4096];
  for (size_t n = 0; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    result.out.append(buffer, n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace

ShellResult Shell(const std::string& command) {
  const TempDir dir;
  WriteFile(dir / "command", command + "\n");
  return Read("bash " + (dir / "command") + " 2>&1 < /dev/null", dir.path());
}

bool HasProgram(const std::string& name) {
  return Read("command -v " + name + " > /dev/null 2>&1", "/").exit_code == 0;
}

ShellResult InTerminal(const std::string& command, const std::string& term) {
  const TempDir dir;
  WriteFile(dir / "command", "export TERM=" + term + "\nstty cols 100\n" + command + "\n");
  return Read("script -qec 'bash " + (dir / "command") + "' /dev/null 2>&1 < /dev/null",
              dir.path());
}

}  // namespace mixtral::testing
