// SPDX-License-Identifier: Apache-2.0
// The flags of `mixtral eval`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/common_flags.h"
#include "eval/run_measure.h"

namespace mixtral::cli {

struct EvalFlags {
  std::optional<std::string> path, data, output, lexicon, judge;
  PathFlags log;
  ComputeFlags compute;
  std::string format, passkey_form = "plain";
  std::string tasks = "commonsense";
  int64_t limit = -1, context = 0;
  int n_shots = -1, n_answers = 0, max_running = 64;
  eval::MeasureOptions measure;
  float code_temperature = 0;
  bool list = false, json = false, quiet = false;

  bool Parse(Arguments arguments);
};

}  // namespace mixtral::cli
