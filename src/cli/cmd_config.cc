// SPDX-License-Identifier: Apache-2.0
// mixtral config: which flags environment and config file set, checked as the commands would.
#include "base/strings.h"
#include "cli/command_line.h"
#include "cli/help.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral config\n"
    "  MIXTRAL_THREADS=2 mixtral config run\n"
    "  mixtral config --config other.config";

}  // namespace

int ConfigCommand(Arguments arguments) {
  std::string only;
  CommandLine line("config",
                   "Show which flags the environment and the config file set, and check them.",
                   kExamples);
  line.OptionalChoice("COMMAND", &only, CommandNames(arguments.commands),
                      "Show this command's alone");
  if (!line.Parse(arguments)) return kExitOk;
  const Settings settings = line.LoadSettings(arguments.commands);
  std::string text;
  if (settings.path().empty())
    text = fmt::format("No config file; the default is {}\n", DefaultConfigPath());
  else
    text = fmt::format("Config file {}\n", settings.path());
  const size_t empty = text.size();
  for (const CommandDescription& command : DescribeAll(arguments.commands, &settings)) {
    const std::string_view first = std::string_view(command.name).substr(0, command.name.find(' '));
    if (!only.empty() && first != only) continue;
    for (const FlagDescription& flag : command.flags)
      if (!flag.origin.empty())
        text += fmt::format("{}: {} = {}, in {}\n", command.name, flag.Key(),
                            Printable(Join(flag.set_values, " | "), 200), flag.origin);
  }
  if (text.size() == empty) text += "Nothing is set: every flag has its default.\n";
  WriteOut(text);
  return kExitOk;
}

}  // namespace mixtral::cli
