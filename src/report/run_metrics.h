// SPDX-License-Identifier: Apache-2.0
// metrics.jsonl of a training run as structs. docs/training.md has the keys; those that a run does
// not write stay empty.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::report {

struct StepMetrics {
  int64_t step = 0, tokens = 0;
  double loss = 0;
  std::optional<double> learning_rate, grad_norm, tokens_per_second, mfu, balance, margin, accuracy;
  std::vector<std::vector<double>> load;  // [layer][expert], sums to 1 in each layer
  std::vector<std::string> alarms;
};

struct DomainMetrics {
  double loss = 0;
  std::optional<double> margin, accuracy;
};

struct Evaluation {
  int64_t step = 0;
  std::map<std::string, DomainMetrics> domains;
};

struct RunMetrics {
  std::vector<StepMetrics> steps;
  std::vector<Evaluation> evaluations;
};

/// Lines that are not whole at the end (a run that goes on, or was killed) are left out. Throws
/// Error{kCorrupt} with the line's number for anything else that is no metric, and for a file
/// without steps.
RunMetrics ParseMetrics(std::string_view text, std::string_view where);

}  // namespace mixtral::report
