// SPDX-License-Identifier: Apache-2.0
// `mixtral data ACTION`: the table of actions. Each has its own flags and help.
#include "cli/cmd_data.h"

#include <algorithm>

#include "base/strings.h"
#include "cli/command_line.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr Command kActions[] = {
    {"prepare", "text and JSONL to token shards for pretraining", &DataPrepareCommand},
    {"sft", "chats to token shards for supervised fine-tuning", &DataSftCommand},
    {"preferences", "pairs of answers to token shards for DPO", &DataPreferencesCommand},
    {"tokenizer", "train a SentencePiece BPE tokenizer", &DataTokenizerCommand},
    {"report", "tokens and documents of a folder of shards", &DataReportCommand},
    {"inspect", "show documents of a folder of shards", &DataInspectCommand},
};

std::string ActionList() {
  std::string text;
  for (const Command& action : kActions)
    text += fmt::format("  {:<13}{}\n", action.name, action.help);
  return text;
}

}  // namespace

int DataCommand(Arguments arguments) {
  if (!arguments.words.empty()) {
    const std::string& name = arguments.words.front();
    for (const Command& action : kActions) {
      if (action.name != name) continue;
      arguments.words = arguments.words.subspan(1);
      return action.run(arguments);
    }
  }
  std::string action;
  std::vector<std::string_view> names;
  for (const Command& entry : kActions) names.push_back(entry.name);
  CommandLine line(
      "data",
      "Makes training data: tokenizers and token shards.\n\nActions, each with its own "
      "--help:\n" +
          ActionList(),
      "  mixtral data tokenizer --data en='books/*.txt' --vocab-size 8000 -o tok\n"
      "  mixtral data prepare --data en='books/*.txt' --tokenizer tok -o shards\n"
      "  mixtral data prepare --help\n");
  line.WithoutSettings();
  line.RequiredChoice("ACTION", &action, names, "What to make or show");
  line.Parse(arguments);  // an action is found above, so this prints help or throws
  return kExitOk;
}

}  // namespace mixtral::cli
