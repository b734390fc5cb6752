// SPDX-License-Identifier: Apache-2.0
#include "cli/eval_flags.h"

#include <limits>

#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral eval --list\n"
    "  mixtral eval model.gguf --data eval-data --tasks arc_easy,mmlu --limit 100\n"
    "  mixtral eval model.gguf --data eval-data --tasks all --output results    # goes on if "
    "stopped\n"
    "  mixtral eval model.gguf --tasks passkey --passkey-form chat --output passkey";

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();

void AddMeasures(CommandLine& line, EvalFlags* flags) {
  line.Group("Single tasks");
  line.Flag("--allow-code-execution", &flags->measure.allow_code_execution,
            "HumanEval and MBPP: run the programs that the model writes, in a sandbox");
  line.Int("--code-answers", &flags->measure.code.n_answers, {1, 1000},
           "Answers of a problem, for pass@k (default 1, greedy)");
  line.Real("--code-temperature", &flags->code_temperature, {0, 2},
            "Temperature of several answers (default 0.8)");
  line.Text("--vader-lexicon", &flags->lexicon, "FILE",
            "BOLD: vader_lexicon.txt, as in the npm package vader-sentiment");
  line.Text("--judge", &flags->judge, "PATH",
            "MT-Bench: the model that rates the answers ('self': the measured one)");
  line.Text("--judge-endpoint", &flags->judge_endpoint, "URL",
            "MT-Bench: the server of the model that rates");
  line.Text("--judge-model", &flags->judge_model, "NAME", "Its name there");
  line.Choice("--passkey-form", &flags->passkey_form, {"plain", "chat"},
              "Passkey: a text to continue, or a message to an instruct model (default plain)");
  line.Int("--passkey-lengths", &flags->measure.passkey_lengths, {1, 100},
           "Lengths up to the context (default 8, fewer in short contexts)");
  line.Int("--passkey-positions", &flags->measure.passkey_positions, {1, 100},
           "Places of the key (default 8)");
  line.Int("--passkey-keys", &flags->measure.passkey_keys, {1, 1000}, "Keys a cell (default 5)");
}

}  // namespace

bool EvalFlags::Parse(Arguments arguments) {
  CommandLine line("eval", "Measure a model with the benchmarks of the Mixtral paper and others.",
                   kExamples);
  line.Text("--data", &data, "DIR",
            "Folder of the benchmarks' files; docs/evaluation.md has names");
  std::optional<std::string> names;
  line.Text("--tasks", &names, "LIST",
            "Names of tasks or areas, or 'all', with commas (default commonsense)");
  line.Flag("--list", &list, "Print tasks, areas and protocols");
  line.Int("--limit", &limit, {1, kMaxInt}, "Only the first rows of each task");
  line.Int("--num-fewshot", &n_shots, {0, 1000}, "Examples, instead of each task's own number");
  line.Int("--answers", &n_answers, {1, 1000},
           "Answers that vote, instead of the task's own number (GSM8K 8, MATH 4)");
  line.Text(
      "-o,--output", &output, "DIR",
      "Write samples, results.json, results.md and report.html; a run that was stopped goes on");
  line.Flag("--json", &json, "Print the results as one JSON object");
  line.Flag("-q,--quiet", &quiet, "No progress and notes on standard error");
  AddMeasures(line, this);
  source.AddTo(line);
  if (!line.Parse(arguments)) return false;
  if (names) tasks = *names;
  if (list) return true;
  source.Check();
  if (judge && judge_endpoint) ThrowUsage("--judge: expected no --judge-endpoint with it");
  measure.passkey_form = eval::ParsePasskeyForm(passkey_form);
  if (measure.code.n_answers > 1)
    measure.code.temperature = code_temperature > 0 ? code_temperature : 0.8f;
  for (const int64_t k : {10, 100})
    if (k <= measure.code.n_answers) measure.code.k.push_back(k);
  measure.lexicon = lexicon.value_or("");
  return true;
}

ModelSource EvalFlags::JudgeSource() const {
  ModelSource from = source;
  from.path = judge;
  from.endpoint = judge_endpoint;
  from.model = judge_model;
  return from;
}

}  // namespace mixtral::cli
