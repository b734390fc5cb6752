// SPDX-License-Identifier: Apache-2.0
// The program: finds the command, and is the one place where an error becomes a line of text and an
// exit code.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/strings.h"
#include "cli/command_line.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr Command kCommands[] = {
    {"run", "continue a text", &RunCommand},
    {"chat", "talk with a model, line by line", &ChatCommand},
    {"info", "what a model is, what it costs, which kernels run it", &InfoCommand},
    {"tokenize", "text to token ids and back", &TokenizeCommand},
    {"logits", "write logits and routing of given tokens, to compare engines", &LogitsCommand},
};

std::string Overview() {
  std::string text = fmt::format(
      "mixtral {}: run Mixtral models\n\nUsage: mixtral COMMAND PATH [flags]\n\nCommands:\n",
      kVersion);
  for (const Command& command : kCommands)
    text += fmt::format("  {:<10}{}\n", command.name, command.help);
  text +=
      "  help      this text; 'mixtral help COMMAND' explains a command\n"
      "\nPATH is a GGUF file, a Hugging Face folder or a Mistral folder.\n"
      "\nExamples:\n"
      "  mixtral run model.gguf -p 'Once upon a time'\n"
      "  mixtral chat model.gguf\n"
      "  mixtral info model.gguf\n";
  return text;
}

const Command& FindCommand(const std::string& name) {
  const auto* it = std::find_if(std::begin(kCommands), std::end(kCommands),
                                [&](const Command& command) { return command.name == name; });
  if (it != std::end(kCommands)) return *it;
  std::vector<std::string_view> names = {"help"};
  for (const Command& command : kCommands) names.push_back(command.name);
  ThrowUsage("unknown command '{}'{} (see 'mixtral --help')", Printable(name),
             DidYouMean(name, names));
}

int Dispatch(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    Note("{}", Overview());
    return kExitUsage;
  }
  std::string name = arguments.front();
  arguments.erase(arguments.begin());
  if (name == "--version") {
    WriteOut(fmt::format("mixtral {}\n", kVersion));
    return kExitOk;
  }
  if (name == "help" || name == "--help" || name == "-h") {
    if (arguments.empty()) {
      WriteOut(Overview());
      return kExitOk;
    }
    name = arguments.front();
    arguments = {"--help"};
  }
  return FindCommand(name).run(arguments);
}

int ReportError(const Error& error) {
  Note("mixtral: {}", Printable(error.what(), 2000));
  if (error.code() == ErrorCode::kInternal) return kExitOurBug;
  return dynamic_cast<const UsageError*>(&error) != nullptr ? kExitUsage : kExitBadInput;
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is seen by WriteOut
  try {
    return Dispatch({argv + std::min(argc, 1), argv + argc});
  } catch (const ClosedOutput&) {
    return kExitOk;
  } catch (const Error& error) {
    return ReportError(error);
  } catch (const std::bad_alloc&) {
    Note("mixtral: out of memory");
    return kExitBadInput;
  } catch (const std::exception& error) {
    Note("mixtral: internal error: {}", Printable(error.what(), 2000));
    return kExitOurBug;
  }
}

}  // namespace
}  // namespace mixtral::cli

int main(int argc, char** argv) { return mixtral::cli::Main(argc, argv); }
