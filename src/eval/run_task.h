// SPDX-License-Identifier: Apache-2.0
// One task on one model: questions out, scores in, means with their errors. Goes on where a log of
// samples ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/json.h"
#include "eval/language_model.h"
#include "eval/sample_log.h"
#include "eval/task.h"

namespace mixtral::eval {

struct TaskOptions {
  std::string data;                           // folder
  int64_t limit = -1;                         // rows; negative: all
  std::optional<int> n_shots;                 // instead of the task's own
  std::optional<int> n_answers;               // instead of the task's own, where answers vote
  const std::atomic<bool>* cancel = nullptr;  // looked at between some samples
  std::function<void(int64_t done, int64_t total)> on_progress = {};
};

/// Mean of values, and its standard error sd / sqrt(n) with sd over n - 1 (0 for one value), as
/// lm-evaluation-harness has it.
struct MeanError {
  double mean = 0, error = 0;
  int64_t n = 0;
};
MeanError MeanOf(std::span<const double> values);
/// Subjects as one score, as lm-evaluation-harness has it: every row counts the same, and the error
/// is that of the variances within the groups, sqrt(sum of squares / (N - n_groups) / N). Where a
/// group has one value only, it is that of all values.
MeanError PooledMean(std::span<const std::vector<double>> groups);

struct TaskResult {
  std::string task;
  int64_t n = 0;
  int n_shots = 0, n_answers = 1;
  std::map<std::string, MeanError> metrics;                        // 0 to 1
  std::map<std::string, std::map<std::string, MeanError>> groups;  // by subject
  Json detail;  // of a measurement: measures.h; null otherwise
  double seconds = 0;
  Json ToJson() const;
};

/// The metrics of a row of log-likelihoods: "acc" by the sum, "acc_norm" by the sum per byte of the
/// choice (without the blank before it). Ties: the first choice.
std::map<std::string, double> ChoiceScores(const Item& item, std::span<const double> logprobs);

/// The name, protocol and model that a log of samples is of.
Json TaskSettings(const Task& task, const TaskOptions& options, const LanguageModel& model);

/// kChoice and kGenerate. nullopt: cancelled, what was done is in the log. Throws what reading the
/// files and the model throw.
std::optional<TaskResult> RunTask(LanguageModel& model, const Task& task,
                                  const TaskOptions& options, SampleLog* log);

}  // namespace mixtral::eval
