// SPDX-License-Identifier: Apache-2.0
// Descriptions of the commands, asked of the commands themselves.
#include "cli/description.h"

#include <utility>

#include "base/check.h"

namespace mixtral::cli {

std::string FlagDescription::Key() const {
  for (const std::string& name : names)
    if (name.starts_with("--")) return name.substr(2);
  return "";
}

/// By convention: a flag's value is declared as FILE, PATH or FOLDER, and every argument but TEXT
/// and those with choices is a path.
bool FlagDescription::TakesFile() const {
  if (is_argument) return choices.empty() && names.front() != "TEXT";
  return value == "FILE" || value == "PATH" || value == "FOLDER" || value == "DIR";
}

CommandDescription Describe(const Command& command, std::span<const Command> commands,
                            const Settings* settings) {
  CommandDescription description;
  command.run(
      {.words = {}, .commands = commands, .description = &description, .settings = settings});
  Check(description.name == command.name, "a command describes itself by its name in the table");
  description.summary = command.help;
  return description;
}

std::vector<CommandDescription> DescribeAll(std::span<const Command> commands,
                                            const Settings* settings) {
  std::vector<CommandDescription> descriptions;
  for (const Command& command : commands) {
    CommandDescription description = Describe(command, commands, settings);
    const std::vector<CommandDescription> actions = std::move(description.actions);
    description.actions.clear();
    descriptions.push_back(std::move(description));
    descriptions.insert(descriptions.end(), actions.begin(), actions.end());
  }
  return descriptions;
}

std::vector<std::string_view> CommandNames(std::span<const Command> commands) {
  std::vector<std::string_view> names;
  for (const Command& command : commands) names.push_back(command.name);
  return names;
}

std::string VariableOf(std::string_view key) {
  std::string variable = "MIXTRAL_";
  for (const char c : key) {
    const bool is_lower = c >= 'a' && c <= 'z';
    variable += c == '-' ? '_' : is_lower ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return variable;
}

}  // namespace mixtral::cli
