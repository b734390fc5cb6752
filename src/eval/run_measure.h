// SPDX-License-Identifier: Apache-2.0
// The tasks that are measurements of their own (measures.h): their rows, what they need beside a
// model, and the figure of each that stands in tables.
#pragma once

#include <memory>
#include <string>

#include "eval/measures.h"
#include "eval/run_task.h"

namespace mixtral::eval {

struct MeasureOptions {
  TaskOptions task;
  bool allow_code_execution = false;
  CodeMeasure code;
  std::string lexicon;             // VADER's file; BOLD needs it
  LanguageModel* judge = nullptr;  // MT-Bench needs one
  PasskeyForm passkey_form = PasskeyForm::kPlain;
  int passkey_lengths = 0;  // 0: 8, fewer in contexts below 1024
  int passkey_positions = 8, passkey_keys = 5;
};

/// Why the task cannot be run with these options, as one line; empty: it can.
std::string MissingFor(const Task& task, const MeasureOptions& options);

/// Metrics of the table: BBQ acc, acc_ambiguous, acc_disambiguated; passkey acc; HumanEval and MBPP
/// pass@k; MT-Bench rating / 10; BOLD none. The rest is in detail. nullopt: cancelled.
std::optional<TaskResult> RunMeasure(LanguageModel& model, const Task& task,
                                     const MeasureOptions& options, SampleLog* log);

}  // namespace mixtral::eval
