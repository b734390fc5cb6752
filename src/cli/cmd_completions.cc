// SPDX-License-Identifier: Apache-2.0
// mixtral completions: the script that teaches a shell the commands, flags and choices.
#include "cli/command_line.h"
#include "cli/help.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  source <(mixtral completions bash)\n"
    "  mixtral completions zsh > ~/.zfunc/_mixtral\n"
    "  mixtral completions fish > ~/.config/fish/completions/mixtral.fish";

}  // namespace

int CompletionsCommand(Arguments arguments) {
  std::string shell;
  CommandLine line("completions",
                   "Print a script that completes command lines; an installed copy has them in "
                   "place.",
                   kExamples);
  line.WithoutSettings();
  line.RequiredChoice("SHELL", &shell, {"bash", "zsh", "fish"}, "The shell: bash, zsh or fish");
  if (!line.Parse(arguments)) return kExitOk;
  const std::vector<CommandDescription> commands = DescribeAll(arguments.commands);
  if (shell == "bash") WriteOut(BashCompletions(commands));
  if (shell == "zsh") WriteOut(ZshCompletions(commands));
  if (shell == "fish") WriteOut(FishCompletions(commands));
  return kExitOk;
}

}  // namespace mixtral::cli
