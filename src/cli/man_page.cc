// SPDX-License-Identifier: Apache-2.0
// Descriptions as man pages in roff's man macros, so that they say what --help says.
#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "cli/help.h"

namespace mixtral::cli {
namespace {

/// Text as it stands: no escapes, no requests, every dash one that can be copied.
std::string Escaped(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
    line_begins = c == '\n';
  }
  return out;
}

std::string Bold(std::string_view text) { return fmt::format("\\fB{}\\fR", Escaped(text)); }
std::string Italic(std::string_view text) { return fmt::format("\\fI{}\\fR", Escaped(text)); }

std::string Upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string Head(const std::string& name, std::string_view summary) {
  return fmt::format(
      ".TH \"{}\" 1 \"\" \"mixtral {}\" \"Mixtral\"\n.nh\n.ad l\n.SH NAME\n{} \\- {}\n.SH "
      "SYNOPSIS\n",
      Upper(Escaped(name)), kVersion, Escaped(name), Escaped(summary));
}

/// "\fB-t\fR, \fB--threads\fR \fIN\fR" and its help.
std::string Item(const std::vector<std::string>& names, std::string_view value,
                 std::string_view help) {
  std::string head;
  for (const std::string& name : names)
    head += (head.empty() ? "" : ", ") + (name[0] == '-' ? Bold(name) : Italic(name));
  std::string shown = Italic(value);  // a long list of choices may break after each
  for (size_t at = 0; (at = shown.find('|', at)) != std::string::npos; at += 3)
    shown.insert(at + 1, "\\:");
  if (!value.empty()) head += " " + shown;
  return fmt::format(".TP\n{}\n{}\n", head, Escaped(help));
}

std::string Synopsis(const CommandDescription& command) {
  std::string text = Bold("mixtral " + command.name);
  for (const FlagDescription& flag : command.flags)
    if (flag.is_argument)
      text += flag.is_required ? fmt::format(" {}", Italic(flag.names.front()))
                               : fmt::format(" [{}]", Italic(flag.names.front()));
  return text + " [" + Italic("flags") + "]\n";
}

std::string Options(const CommandDescription& command) {
  std::string arguments, flags, group;
  for (const FlagDescription& flag : command.flags) {
    if (flag.is_argument) {
      arguments += Item(flag.names, "", flag.help);
      continue;
    }
    if (flag.group != group) {
      group = flag.group;
      if (group != "Options") flags += fmt::format(".SS {}\n", Escaped(group));
    }
    flags += Item(flag.names, flag.value, flag.help);
  }
  if (!arguments.empty()) arguments = ".SH ARGUMENTS\n" + arguments;
  return arguments + ".SH OPTIONS\n" + Item({"-h", "--help"}, "", "Print this help") + flags;
}

constexpr std::string_view kSettings =
    ".SH ENVIRONMENT AND CONFIG FILE\n"
    "A flag \\fB\\-\\-some\\-flag\\fR that the command line does not have is taken from the\n"
    "environment variable \\fBMIXTRAL_SOME_FLAG\\fR, or else from the line\n"
    "\\fBsome\\-flag = VALUE\\fR of the config file, \\fI$XDG_CONFIG_HOME/mixtral/config\\fR or\n"
    "\\fI~/.config/mixtral/config\\fR: from the section \\fB[COMMAND]\\fR first, then from the "
    "lines\n"
    "before any section. Switches are \\fBtrue\\fR or \\fBfalse\\fR. \\fBmixtral config\\fR shows "
    "what\n"
    "is set. \\fBMIXTRAL_ISA\\fR (scalar, avx2) limits the kernels to an instruction set;\n"
    "\\fBNO_COLOR\\fR switches colours off.\n";

std::string ExitStatus() {
  return ".SH EXIT STATUS\n" + Item({"0"}, "", "Done.") +
         Item({"1"}, "",
              "A wrong command line, environment variable or config file: an unknown flag, a value "
              "out of range, something missing.") +
         Item({"2"}, "",
              "Bad or unsupported input: a file that is missing, broken or of a kind that cannot "
              "be run; output that cannot be written; a check that failed.") +
         Item({"4"}, "", "A bug of this program.") + Item({"130"}, "", "Ended by Ctrl-C.");
}

std::string Examples(std::string_view lines) {
  return fmt::format(".SH EXAMPLES\n.nf\n{}\n.fi\n", Escaped(lines));
}

}  // namespace

std::string PageName(const CommandDescription& command) {
  std::string name = "mixtral-" + command.name;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string ManPage(const CommandDescription& command) {
  std::string page = Head(PageName(command), command.summary);
  page += Synopsis(command);
  page += fmt::format(".SH DESCRIPTION\n{}\n", Escaped(command.description));
  page += Options(command);
  if (command.takes_settings) page += kSettings;
  page += ExitStatus();
  page += Examples(command.examples);
  return page + ".SH SEE ALSO\n.BR mixtral (1)\n";
}

std::string OverviewManPage(std::span<const CommandDescription> commands) {
  std::string page = Head("mixtral", "run Mixtral models");
  page += fmt::format("{} {} [{} ...] [{}]\n", Bold("mixtral"), Italic("COMMAND"),
                      Italic("ARGUMENT"), Italic("flags"));
  page +=
      ".SH DESCRIPTION\nOpens Mixtral checkpoints as they are (a GGUF file, a Hugging Face folder "
      "or a Mistral folder)\nand answers, without converting anything.\n.SH COMMANDS\n";
  for (const CommandDescription& command : commands)
    page += fmt::format(".TP\n{}(1)\n{}\n", Bold(PageName(command)), Escaped(command.summary));
  page += kSettings;
  page += ExitStatus();
  page += Examples(
      "  mixtral run model.gguf -p 'Once upon a time'\n"
      "  mixtral chat model.gguf\n"
      "  mixtral info model.gguf");
  page += ".SH SEE ALSO\n";
  for (const CommandDescription& command : commands)
    page += fmt::format(".BR {} (1){}\n", Escaped(PageName(command)),
                        &command == &commands.back() ? "" : ",");
  return page;
}

}  // namespace mixtral::cli
