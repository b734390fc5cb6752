// SPDX-License-Identifier: Apache-2.0
// Completion scripts. Each is self-contained: it names commands, flags, choices and where a file is
// expected, and never calls the program.
#include <fmt/format.h>

#include "base/strings.h"
#include "cli/help.h"

namespace mixtral::cli {
namespace {

/// text with every character of `special` behind a backslash.
std::string Guarded(std::string_view text, std::string_view special) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

/// In single quotes, for any of the three shells' words.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

bool IsAction(const CommandDescription& command) {
  return command.name.find(' ') != std::string::npos;
}

std::string NameList(std::span<const CommandDescription> commands) {
  std::vector<std::string> names;
  for (const CommandDescription& command : commands)
    if (!IsAction(command)) names.push_back(command.name);
  return Join(names, " ");
}

std::string BashCommand(const CommandDescription& command) {
  std::string flags = "-h --help", cases, argument = "      _mixtral_files\n";
  bool has_argument = false;
  for (const FlagDescription& flag : command.flags) {
    if (flag.is_argument) {
      if (!has_argument && !flag.choices.empty())
        argument = fmt::format("      _mixtral_words {}\n", Quoted(Join(flag.choices, " ")));
      has_argument = true;
      continue;
    }
    flags += " " + Join(flag.names, " ");
    if (flag.value.empty()) continue;
    std::string action = "return";
    if (!flag.choices.empty()) action = "_mixtral_words " + Quoted(Join(flag.choices, " "));
    if (flag.TakesFile()) action = "_mixtral_files";
    cases += fmt::format("        {}) {}; return ;;\n", Join(flag.names, "|"), action);
  }
  std::string text = fmt::format("    {})\n", Quoted(command.name));
  if (!cases.empty()) text += "      case $before in\n" + cases + "      esac\n";
  text += fmt::format("      if [[ $word == -* ]]; then _mixtral_words {}; return; fi\n",
                      Quoted(flags));
  return text + (has_argument ? argument : "") + "      ;;\n";
}

std::string ZshFlag(const FlagDescription& flag) {
  const std::string help = Guarded(flag.help, "[]:\\");
  std::string action;
  if (!flag.value.empty() || flag.is_argument) {
    const std::string what = flag.is_argument ? flag.names.front() : flag.value;
    action = fmt::format(":{}:", Guarded(flag.choices.empty() ? what : "value", ":\\"));
    if (!flag.choices.empty()) action += fmt::format("({})", Join(flag.choices, " "));
    if (flag.TakesFile()) action += "_files";
  }
  if (flag.is_argument) return Quoted((flag.is_required ? "" : ":") + action);
  std::string words;
  for (const std::string& name : flag.names) {
    std::string spec = flag.is_list ? "*" : fmt::format("({})", Join(flag.names, " "));
    spec += name;
    if (!flag.value.empty()) spec += name.starts_with("--") ? "=" : "+";
    words += (words.empty() ? "" : " ") + Quoted(fmt::format("{}[{}]{}", spec, help, action));
  }
  return words;
}

std::string FishFlag(const CommandDescription& command, const FlagDescription& flag) {
  std::string seen = "__fish_seen_subcommand_from " + command.name;
  if (const size_t blank = seen.rfind(' '); IsAction(command))
    seen = seen.substr(0, blank) + "; and __fish_seen_subcommand_from" + seen.substr(blank);
  std::string line = fmt::format("complete -c mixtral -n '{}'", seen);
  if (flag.is_argument) {
    if (!flag.choices.empty()) return line + " -a " + Quoted(Join(flag.choices, " ")) + "\n";
    return flag.TakesFile() ? line + " -F\n" : "";
  }
  for (const std::string& name : flag.names)
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (!flag.choices.empty())
    line += " -x -a " + Quoted(Join(flag.choices, " "));
  else if (flag.TakesFile())
    line += " -r -F";
  else if (!flag.value.empty())
    line += " -x";
  return line + " -d '" + Guarded(flag.help, "'\\") + "'\n";
}

}  // namespace

std::string BashCompletions(std::span<const CommandDescription> commands) {
  std::string text =
      "# bash completion for mixtral, made by: mixtral completions bash\n"
      "_mixtral_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$word\"); }\n"
      "_mixtral_files() {\n"
      "  compopt -o filenames 2> /dev/null\n"
      "  mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
      "}\n"
      "_mixtral() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
      "  if [[ $word == = ]]; then\n"
      "    word=\n"
      "  elif [[ $before == = ]]; then\n"
      "    before=${COMP_WORDS[COMP_CWORD - 2]}\n"
      "  fi\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)); then\n";
  text += fmt::format("    _mixtral_words '{} --help --version'\n", NameList(commands));
  text +=
      "    return\n"
      "  fi\n"
      "  local command=${COMP_WORDS[1]}\n";
  for (const CommandDescription& command : commands)
    if (IsAction(command))
      text += fmt::format(
          "  if ((COMP_CWORD > 2)) && [[ \"$command ${{COMP_WORDS[2]}}\" == {0} ]]; then "
          "command={0}; fi\n",
          Quoted(command.name));
  text += "  case $command in\n";
  for (const CommandDescription& command : commands) text += BashCommand(command);
  return text + "  esac\n}\ncomplete -F _mixtral mixtral\n";
}

std::string ZshCompletions(std::span<const CommandDescription> commands) {
  std::string text =
      "#compdef mixtral\n"
      "# zsh completion for mixtral, made by: mixtral completions zsh\n"
      "_mixtral() {\n"
      "  if ((CURRENT == 2)); then\n"
      "    local -a commands=(\n";
  for (const CommandDescription& command : commands)
    if (!IsAction(command))
      text += "      " + Quoted(command.name + ":" + Guarded(command.summary, ":\\")) + "\n";
  text +=
      "    )\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local which=$words[2]\n"
      "  shift words\n"
      "  ((CURRENT--))\n";
  for (const CommandDescription& command : commands)
    if (IsAction(command))
      text += fmt::format(
          "  if ((CURRENT > 2)) && [[ \"$which $words[2]\" == {0} ]]; then which={0}; shift words; "
          "((CURRENT--)); fi\n",
          Quoted(command.name));
  text += "  case $which in\n";
  for (const CommandDescription& command : commands) {
    text +=
        fmt::format("    {})\n      _arguments -s '(-h --help)'{{-h,--help}}'[Print this help]'",
                    Quoted(command.name));
    for (const FlagDescription& flag : command.flags) text += " \\\n        " + ZshFlag(flag);
    text += "\n      ;;\n";
  }
  return text +
         "  esac\n"
         "}\n"
         "if [[ $funcstack[1] == _mixtral ]]; then\n"
         "  _mixtral \"$@\"\n"
         "else\n"
         "  compdef _mixtral mixtral\n"
         "fi\n";
}

std::string FishCompletions(std::span<const CommandDescription> commands) {
  std::string text =
      "# fish completion for mixtral, made by: mixtral completions fish\n"
      "complete -c mixtral -f\n"
      "complete -c mixtral -s h -l help -d 'Print help'\n"
      "complete -c mixtral -n __fish_use_subcommand -l version -d 'Print the version'\n";
  for (const CommandDescription& command : commands) {
    if (!IsAction(command))
      text += fmt::format("complete -c mixtral -n __fish_use_subcommand -a {} -d '{}'\n",
                          command.name, Guarded(command.summary, "'\\"));
    for (const FlagDescription& flag : command.flags) text += FishFlag(command, flag);
  }
  return text;
}

}  // namespace mixtral::cli
