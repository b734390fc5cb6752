// SPDX-License-Identifier: Apache-2.0
// The flags of `mixtral eval`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/model_source.h"
#include "eval/run_measure.h"

namespace mixtral::cli {

struct EvalFlags {
  ModelSource source;
  std::optional<std::string> data, output, lexicon, judge, judge_endpoint, judge_model;
  std::string passkey_form = "plain";
  std::string tasks = "commonsense";
  int64_t limit = -1;
  int n_shots = -1, n_answers = 0;
  eval::MeasureOptions measure;
  float code_temperature = 0;
  bool list = false, json = false, quiet = false;

  bool Parse(Arguments arguments);
  bool has_judge() const { return judge || judge_endpoint; }
  /// The model that judges: --judge PATH or --judge-endpoint, with the other flags of the measured
  /// one.
  ModelSource JudgeSource() const;
};

}  // namespace mixtral::cli
