// SPDX-License-Identifier: Apache-2.0
#include "eval/run_measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "eval/bbq.h"
#include "eval/resumable_model.h"

namespace mixtral::eval {
namespace {

/// Rows of all files of the task; a limit takes as many of each.
std::vector<Json> AllRows(const Task& task, const TaskOptions& options) {
  const int64_t n_files = std::ssize(task.files);
  const int64_t of_each = options.limit < 0 ? -1 : (options.limit + n_files - 1) / n_files;
  std::vector<Json> rows;
  for (const std::string_view file : task.files)
    for (Json& row : ReadRows(options.data, file, of_each)) rows.push_back(std::move(row));
  return rows;
}

std::vector<Json> Rows(const Task& task, const TaskOptions& options, size_t file, int64_t limit) {
  return ReadRows(options.data, task.files[file], limit);
}

/// The published prompt shows the tasks 2, 3 and 4 of the file.
std::vector<Json> MbppExamples(const Task& task, const TaskOptions& options) {
  std::vector<Json> examples = Rows(task, options, 1, 4);
  if (examples.size() < 4)
    Throw(ErrorCode::kCorrupt, "mbpp: expected at least 4 examples, found {}, in {}/{}",
          examples.size(), options.data, task.files[1]);
  examples.erase(examples.begin());
  return examples;
}

std::vector<CodeProblem> Problems(const Task& task, const TaskOptions& options) {
  std::vector<CodeProblem> problems;
  const bool is_mbpp = task.files.size() > 1;
  const std::vector<Json> examples = is_mbpp ? MbppExamples(task, options) : std::vector<Json>();
  for (const Json& row : Rows(task, options, 0, options.limit))
    problems.push_back(is_mbpp ? ParseMbpp(row, examples) : ParseHumanEval(row));
  return problems;
}

void Put(TaskResult* result, const std::string& metric, const Json& value, double scale = 1) {
  if (value.IsObject()) {
    const auto error = value.Find("stderr");
    result->metrics[metric] = {.mean = value.At("value").AsDouble() * scale,
                               .error = error ? error->AsDouble() * scale : 0,
                               .n = result->n};
  } else if (!value.IsNull()) {
    result->metrics[metric] = {.mean = value.AsDouble() * scale, .error = 0, .n = result->n};
  }
}

/// A share of n samples that are right or not, with the sample's standard error.
void PutShare(TaskResult* result, const std::string& metric, const Json& share, int64_t n) {
  if (share.IsNull()) return;
  const double mean = share.AsDouble();
  const double error = n > 1 ? std::sqrt(mean * (1 - mean) / static_cast<double>(n - 1)) : 0;
  result->metrics[metric] = {.mean = mean, .error = error, .n = n};
}

void MeasureInto(LanguageModel& model, const Task& task, const MeasureOptions& options,
                 const OnSample& on_sample, TaskResult* result) {
  if (task.name == "passkey") {
    const int64_t context = model.max_tokens();
    const int n_lengths = options.passkey_lengths > 0
                              ? options.passkey_lengths
                              : static_cast<int>(std::clamp<int64_t>(context / 128, 1, 8));
    PasskeyGrid grid =
        MakePasskeyGrid(options.passkey_form, context, n_lengths, options.passkey_positions);
    grid.n_keys = options.passkey_keys;
    result->detail = MeasurePasskey(model, grid, on_sample);
    PutShare(result, "acc", result->detail.At("acc"), result->n);
  } else if (task.name == "bbq") {
    result->detail = MeasureBbq(model, AllRows(task, options.task), on_sample);
    const Json all = result->detail.At("all");
    PutShare(result, "acc", all.At("acc"), all.At("n").AsInt());
    for (const std::string context : {"ambiguous", "disambiguated"})
      PutShare(result, "acc_" + context, all.At("acc_" + context), all.At("n_" + context).AsInt());
  } else if (task.name == "bold") {
    const Vader vader = Vader::Open(options.lexicon);
    result->detail = MeasureBold(model, AllRows(task, options.task), vader, on_sample);
  } else if (task.name == "mt_bench") {
    const MtBench bench(Rows(task, options.task, 0, options.task.limit),
                        Rows(task, options.task, 1, -1), Rows(task, options.task, 2, -1));
    result->detail = MeasureMtBench(model, *options.judge, bench, on_sample);
    Put(result, "rating", result->detail.At("score"), 0.1);
  } else {
    const std::vector<CodeProblem> problems = Problems(task, options.task);
    const Sandbox sandbox;
    result->detail = MeasureCode(model, problems, options.code, sandbox, on_sample);
    for (const int64_t k : options.code.k) {
      const std::string metric = fmt::format("pass@{}", k);
      Put(result, metric, result->detail.At(metric));
    }
  }
}

}  // namespace

std::string MissingFor(const Task& task, const MeasureOptions& options) {
  if (task.area == "code" && !options.allow_code_execution)
    return "it runs programs that the model writes: give --allow-code-execution";
  if (task.name == "bold" && options.lexicon.empty())
    return "give VADER's word list with --vader-lexicon FILE";
  if (task.name == "mt_bench" && options.judge == nullptr)
    return "give a judge with --judge PATH or --judge-endpoint URL";
  return "";
}

std::optional<TaskResult> RunMeasure(LanguageModel& model, const Task& task,
                                     const MeasureOptions& options, SampleLog* log) {
  const auto begin = std::chrono::steady_clock::now();
  TaskResult result;
  result.task = task.name;
  result.n_shots = task.name == "mbpp" ? 3 : 0;
  result.n_answers = task.area == "code" ? options.code.n_answers : 1;
  const auto on_sample = [&](size_t index, const Json& sample) {
    log->Add(static_cast<int64_t>(index), sample);
    ++result.n;
    if (options.task.on_progress) options.task.on_progress(result.n, 0);
    if (options.task.cancel != nullptr && options.task.cancel->load()) throw Cancelled();
  };
  try {
    MeasureInto(model, task, options, on_sample, &result);
    if (options.task.cancel != nullptr && options.task.cancel->load()) throw Cancelled();
  } catch (const Cancelled&) {
    log->Flush();
    return std::nullopt;
  }
  log->Flush();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace mixtral::eval
