// SPDX-License-Identifier: Apache-2.0
// Results of `mixtral eval` for people: a Markdown table beside the paper's numbers, and the values
// of the HTML page. Pure.
#pragma once

#include <span>
#include <string>

#include "eval/result_page.h"
#include "eval/run_task.h"

namespace mixtral::eval {

struct EvalRun {
  std::string model, fingerprint, data;
  int64_t limit = -1;
  std::span<const TaskResult> results;
};

/// A table of every metric with its error, Mixtral 8x7B's and Llama 2 70B's number beside; below it
/// tables of groups (subjects) and of bias.
std::string MarkdownReport(const EvalRun& run);
ResultPage MakeResultPage(const EvalRun& run);
Json ReportJson(const EvalRun& run);

}  // namespace mixtral::eval
