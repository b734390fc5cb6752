// SPDX-License-Identifier: Apache-2.0
// What `mixtral bench` measures: a plan of cases, run in rounds, so that whatever disturbs the
// machine for a while disturbs all of them and the ceilings alike; medians and intervals over the
// rounds. docs/benchmarks.md says what every figure means.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "io/checkpoint.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include "tensor/dtype.h"

namespace mixtral {

struct BenchPlan {
  std::vector<int> prefill = {512, 32};    // tokens
  std::vector<int> batches = {4, 16, 64};  // sequences decoded at once
  std::vector<int> depths;                 // positions in the cache before decode and prefill
  std::vector<int> threads = {1};          // ascending; the last one is for everything
  int decode_tokens = 32;                  // 0: no decoding
  int repetitions = 5;
  uint64_t seed = 1;
  ComputeMode compute = ComputeMode::kFast;
  DType kv_dtype = DType::kF16;
};

/// How a speed stands to what the machine can do.
struct FigureCost {
  double bytes_per_token = 0, ops_per_token = 0;  // medians
  double gb_per_s = 0, gop_per_s = 0;
  double percent_of_read = 0, percent_of_peak = 0;
  /// Of the time that max(bytes / read speed, operations / 75 % of the peak) allows.
  double percent_of_limit = 0;
};

struct Figure {
  std::string name;
  std::string unit;  // "tokens/s", "GB/s", "Gop/s", "x", "%"
  Direction direction = Direction::kHigherIsBetter;
  Spread value;
  std::optional<FigureCost> cost;
};

struct BenchResult {
  Machine machine;
  std::string isa;
  std::string peak_name;  // of the peak that the weights' type is held against: "int8", "f32"
  DType weight_type = DType::kF32;
  double routing_max_over_mean = 0;  // ExpertCounter::MaxOverMean; 0: dense
  std::vector<Figure> ceilings;      // "read", "int8", "f32"
  std::vector<Figure> figures;
};

/// nullopt: cancelled. on_step: a case of a round is about to start. Throws Error{kInvalidArgument}
/// for a depth beyond the model's context, and what BenchEngine throws.
std::optional<BenchResult> RunBench(
    const Checkpoint& checkpoint, const BenchPlan& plan, const std::atomic<bool>* cancel,
    const std::function<void(std::string_view what, int done, int total)>& on_step);

}  // namespace mixtral
