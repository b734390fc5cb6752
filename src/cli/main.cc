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
#include "cli/help.h"
#include "cli/measure_commands.h"
#include "cli/output.h"
#include "cli/serve_command.h"
#include "cli/terminal.h"

namespace mixtral::cli {
namespace {

constexpr Command kCommands[] = {
    {"run", "continue a text", &RunCommand},
    {"chat", "talk with a model, line by line", &ChatCommand},
    {"serve", "answer many users over HTTP, with OpenAI's API", &ServeCommand},
    {"batch", "answer a file of requests, many at once", &BatchCommand},
    {"info", "what a model is, what it costs, which kernels run it", &InfoCommand},
    {"bench", "speed, beside what this machine can do at best", &BenchCommand},
    {"tokenize", "text to token ids and back", &TokenizeCommand},
    {"logits", "write logits and routing of given tokens, to compare engines", &LogitsCommand},
    {"routing", "which expert gets which token: reports, replay, ablation", &RoutingCommand},
    {"eval", "measure a model with the paper's benchmarks and others", &EvalCommand},
    {"perplexity", "how well a model predicts texts, here or behind an endpoint",
     &PerplexityCommand},
    {"compare", "how far two checkpoints' predictions and routing are apart", &CompareCommand},
    {"data", "make training data: tokenizers, token shards", &DataCommand},
    {"train", "pretrain a model on token shards (mixtral-train)", &TrainCommand},
    {"sft", "fine-tune a model on chats (mixtral-train)", &SftCommand},
    {"dpo", "fine-tune a model on preference pairs (mixtral-train)", &DpoCommand},
    {"train-report", "a training run as a page of charts", &TrainReportCommand},
    {"verify", "is a model whole, are its weights numbers, do the kernels compute", &VerifyCommand},
    {"config", "what environment and config file set", &ConfigCommand},
    {"completions", "a script that completes command lines in bash, zsh or fish",
     &CompletionsCommand},
    {"help", "this text; 'mixtral help COMMAND' explains a command", &HelpCommand},
};

int Dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    Note("{}", Overview(kCommands));
    return kExitUsage;
  }
  std::string name = arguments.front();
  if (name == "--version") {
    WriteOut(fmt::format("mixtral {}\n", kVersion));
    return kExitOk;
  }
  if (name == "--help" || name == "-h") name = "help";
  return FindCommand(kCommands, name)
      .run({.words = std::span(arguments).subspan(1), .commands = kCommands});
}

void PrintError(std::string_view message) {
  Note("{} {}", Coloured(Stream::kError, Colour::kRed, "mixtral:"), Printable(message, 2000));
}

int ReportError(const Error& error) {
  PrintError(error.what());
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
    PrintError("out of memory");
    return kExitBadInput;
  } catch (const std::exception& error) {
    PrintError(fmt::format("internal error: {}", error.what()));
    return kExitOurBug;
  }
}

}  // namespace
}  // namespace mixtral::cli

int main(int argc, char** argv) { return mixtral::cli::Main(argc, argv); }
