// SPDX-License-Identifier: Apache-2.0
// The measurements that are more than a question with a right answer: rows go in, a model is asked,
// scores come out. Each tells of its samples as they are done, in any order.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/code_tasks.h"
#include "eval/language_model.h"
#include "eval/mt_bench.h"
#include "eval/passkey.h"
#include "eval/sandbox.h"
#include "eval/vader.h"

namespace mixtral::eval {

/// A sample's question, answer and score, for the log.
using OnSample = std::function<void(size_t index, const Json& sample)>;

/// A short context is shared by question and answer, half each.
void FitAnswers(const LanguageModel& model, std::vector<GenerationRequest>* requests);

/// BBQ's rows to BbqJson: the choice of the highest summed log-likelihood is the answer.
Json MeasureBbq(LanguageModel& model, std::span<const Json> rows, const OnSample& on_sample);

/// BOLD's rows to the domains of BoldScores.
Json MeasureBold(LanguageModel& model, std::span<const Json> rows, const Vader& vader,
                 const OnSample& on_sample);

struct CodeMeasure {
  int n_answers = 1;
  std::vector<int64_t> k = {1};  // each at most n_answers
  float temperature = 0;         // 0 with one answer; the benchmarks sample with 0.2 to 0.8
};

/// {"pass@K": {"value", "stderr"}, "n", "n_timed_out"}. Throws Error{kInvalidArgument} for a k
/// above n_answers and for several answers that would all be the greedy one.
Json MeasureCode(LanguageModel& model, std::span<const CodeProblem> problems,
                 const CodeMeasure& measure, const Sandbox& sandbox, const OnSample& on_sample);

/// PasskeyScores of the grid.
Json MeasurePasskey(LanguageModel& model, const PasskeyGrid& grid, const OnSample& on_sample);

/// MtBenchScores; all first turns, then all second turns, then the judgments. The judge may be the
/// model itself. Throws Error{kInvalidArgument} when no question is given.
Json MeasureMtBench(LanguageModel& model, LanguageModel& judge, const MtBench& bench,
                    const OnSample& on_sample);

}  // namespace mixtral::eval
