// SPDX-License-Identifier: Apache-2.0
// Reads every weight of a model once: values that are no numbers, norms of experts, experts that
// are copies of each other. One of the checks of `verify`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "model/loader.h"

namespace mixtral::cli {

/// What was seen of one tensor, or of one expert's matrix.
struct WeightStats {
  std::string name;  // of the tensor; " expert 3" behind it for an expert's part
  int64_t n_values = 0;
  int64_t n_nan = 0, n_inf = 0;
  int64_t first_bad = -1;  // index of the first NaN or Inf
  float largest = 0;       // magnitude, of the finite values
  double squares = 0;      // sum, of the finite values

  double Rms() const;
};

/// The root mean square of an expert's matrices, and how it stands among those of its layer.
struct ExpertNorm {
  int layer = 0, expert = 0;
  std::string matrix;  // "gate", "up", "down"
  double rms = 0;
  double ratio = 1;  // to the median of the layer; of fewer than 3 experts always 1
  bool IsOutlier() const { return !(ratio <= kOutlierRatio && ratio >= 1 / kOutlierRatio); }
  static constexpr double kOutlierRatio = 3;
};

/// Experts of a layer whose three matrices are the same, byte by byte.
struct ExpertCopies {
  int layer = 0;
  std::vector<int> experts;
};

struct WeightReport {
  std::vector<WeightStats> tensors;  // outside of the experts in file order, then experts
  std::vector<ExpertNorm> experts;
  std::vector<ExpertCopies> copies;
  int64_t n_values = 0;
  std::vector<std::string> skipped;  // tensors of integers
  bool was_cancelled = false;
};

/// on_bytes(done, total) comes from the calling thread. model was loaded from checkpoint by the CPU
/// backend. The result does not depend on n_threads.
WeightReport ScanWeights(const Checkpoint& checkpoint, const LoadedModel& model, int n_threads,
                         const std::function<void(int64_t done, int64_t total)>& on_bytes,
                         const std::atomic<bool>* cancel);

}  // namespace mixtral::cli
