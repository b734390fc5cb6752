// SPDX-License-Identifier: Apache-2.0
// mixtral help: the overview, a command's --help, and the same as man pages (which the build
// installs).
#include <algorithm>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "cli/command_line.h"
#include "cli/help.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral help run\n"
    "  mixtral help --man run > mixtral-run.1\n"
    "  mixtral help --man --output man1/";

void WritePage(const std::filesystem::path& folder, const std::string& name,
               const std::string& page) {
  WriteFileAtomically((folder / (name + ".1")).string(), std::as_bytes(std::span(page)));
}

void WriteAllPages(const std::string& folder, std::span<const Command> commands) {
  const std::vector<CommandDescription> descriptions = DescribeAll(commands);
  WritePage(folder, "mixtral", OverviewManPage(descriptions));
  for (const CommandDescription& description : descriptions)
    WritePage(folder, PageName(description), ManPage(description));
}

}  // namespace

std::string Overview(std::span<const Command> commands) {
  std::string text = fmt::format(
      "mixtral {}: run Mixtral models\n\nUsage: mixtral COMMAND PATH [flags]\n\nCommands:\n",
      kVersion);
  size_t width = 0;
  for (const Command& command : commands) width = std::max(width, command.name.size());
  for (const Command& command : commands)
    text += fmt::format("  {:<{}}  {}\n", command.name, width, command.help);
  text +=
      "\nPATH is a GGUF file, a Hugging Face folder or a Mistral folder.\n"
      "\nExamples:\n"
      "  mixtral run model.gguf -p 'Once upon a time'\n"
      "  mixtral chat model.gguf\n"
      "  mixtral info model.gguf\n";
  return text;
}

const Command& FindCommand(std::span<const Command> commands, const std::string& name) {
  for (const Command& command : commands)
    if (command.name == name) return command;
  ThrowUsage("unknown command '{}'{} (see 'mixtral --help')", Printable(name),
             DidYouMean(name, CommandNames(commands)));
}

int HelpCommand(Arguments arguments) {
  std::string name;
  std::optional<std::string> folder;
  bool man = false;
  CommandLine line("help", "Explain a command; without one, list them all.", kExamples);
  line.WithoutSettings();
  line.OptionalChoice("COMMAND", &name, CommandNames(arguments.commands), "What to explain");
  line.Flag("--man", &man, "Print a man page (roff)");
  line.Text("-o,--output", &folder, "FOLDER", "With --man: write the page of every command there");
  if (!line.Parse(arguments)) return kExitOk;
  if (folder && (!man || !name.empty()))
    ThrowUsage("help: expected --man and no command with --output, found {}",
               name.empty() ? "no --man" : "one");
  if (folder) {
    WriteAllPages(*folder, arguments.commands);
  } else if (man) {
    WriteOut(name.empty()
                 ? OverviewManPage(DescribeAll(arguments.commands))
                 : ManPage(Describe(FindCommand(arguments.commands, name), arguments.commands)));
  } else if (name.empty()) {
    WriteOut(Overview(arguments.commands));
  } else {
    const std::string help = "--help";
    return FindCommand(arguments.commands, name)
        .run({.words = {&help, 1}, .commands = arguments.commands});
  }
  return kExitOk;
}

}  // namespace mixtral::cli
