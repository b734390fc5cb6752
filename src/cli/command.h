// SPDX-License-Identifier: Apache-2.0
// The commands of the program and their exit codes. main.cc holds the table; each cmd_*.cc is one
// command: parse, call the library, print.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace mixtral::cli {

inline constexpr std::string_view kVersion = "0.1.0";  // the project's in CMakeLists.txt

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 1;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitOurBug = 4;
inline constexpr int kExitInterrupted = 130;

/// A wrong command line: exit code 1. Every other Error is exit code 2 (kInternal: 4).
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ErrorCode::kInvalidArgument, message) {}
};

template <class... Args>
[[noreturn]] void ThrowUsage(fmt::format_string<Args...> format, Args&&... args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

struct Arguments;
struct Command {
  std::string_view name, help;
  int (*run)(Arguments arguments);
};

class Settings;
struct CommandDescription;

/// What a command is called with; it hands all of it to CommandLine::Parse.
struct Arguments {
  std::span<const std::string> words;  // without the program's and the command's name
  std::span<const Command> commands;   // the program's table
  /// Not nullptr: Parse only writes here what the command takes, and gives false. With settings,
  /// it checks them, and says which of them the command would use.
  CommandDescription* description = nullptr;
  const Settings* settings = nullptr;

  bool empty() const { return words.empty(); }
  const std::string& front() const { return words.front(); }
  /// Without the first n words: what an action of a command is called with.
  Arguments subspan(size_t n) const { return {words.subspan(n), commands, description, settings}; }
};

int RunCommand(Arguments arguments);
int ChatCommand(Arguments arguments);
int InfoCommand(Arguments arguments);
int BenchCommand(Arguments arguments);
int TokenizeCommand(Arguments arguments);
int LogitsCommand(Arguments arguments);
int VerifyCommand(Arguments arguments);
int ConfigCommand(Arguments arguments);
int CompletionsCommand(Arguments arguments);
int HelpCommand(Arguments arguments);
int EvalCommand(Arguments arguments);
int DataCommand(Arguments arguments);
int TrainCommand(Arguments arguments);
int SftCommand(Arguments arguments);
int DpoCommand(Arguments arguments);
int TrainReportCommand(Arguments arguments);
int RoutingCommand(Arguments arguments);

}  // namespace mixtral::cli
