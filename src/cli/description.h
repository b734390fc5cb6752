// SPDX-License-Identifier: Apache-2.0
// What a command takes, as data: made by CommandLine from the declarations that it parses by, read
// by completions, man pages, the config file's check and `config`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace mixtral::cli {

struct FlagDescription {
  std::vector<std::string> names;    // "-t", "--threads"; for an argument without a flag: "PATH"
  std::string value;                 // "N", "FILE", "fast|exact"; empty: a switch, or an argument
  std::vector<std::string> choices;  // the only values
  std::string help, group;
  bool is_argument = false;  // has no flag
  bool is_required = false;
  bool is_list = false;  // may be given several times
  /// Filled where settings were given: what environment or config file say, and which of them.
  std::vector<std::string> set_values;
  std::string origin;

  /// Its value, or the argument, is the name of a file or folder.
  bool TakesFile() const;
  /// "threads" of "--threads": its key in the config file; empty when it can only be given on the
  /// command line.
  std::string Key() const;
};

struct CommandDescription {
  std::string name, summary;  // as in the table; an action's name is "data prepare"
  std::string description;
  std::string examples;  // lines, each indented by two blanks
  bool takes_settings = true;
  std::vector<FlagDescription> flags;
  std::vector<CommandDescription> actions;  // of a command that has some; they have none
};

/// Calls the command with nothing but a place for its description.
CommandDescription Describe(const Command& command, std::span<const Command> commands,
                            const Settings* settings = nullptr);
/// All of the table, each command followed by its actions.
std::vector<CommandDescription> DescribeAll(std::span<const Command> commands,
                                            const Settings* settings = nullptr);

/// The names of the table.
std::vector<std::string_view> CommandNames(std::span<const Command> commands);

/// "max-tokens" -> "MIXTRAL_MAX_TOKENS"
std::string VariableOf(std::string_view key);

}  // namespace mixtral::cli
