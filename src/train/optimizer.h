// SPDX-License-Identifier: Apache-2.0
// AdamW with decoupled weight decay (Loshchilov, Hutter 2019), global clipping and the learning
// rate's schedules. State is f32 and can be split over ranks: a rank keeps the state of the tensors
// it owns.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/torch.h"

namespace mixtral::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;
};

/// A tensor that is trained. Several names never share one tensor.
struct Trainable {
  std::string name;
  Tensor value;         // a leaf that requires a gradient
  bool decayed = true;  // weight decay applies
};

struct Moments {
  Tensor first, second;
};

class AdamW {
 public:
  explicit AdamW(AdamWOptions options) : options_(options) {}

  /// One update of a tensor; step counts from 1. A gradient that is undefined (an expert without
  /// tokens) is zeros: moments fade and decay applies, the same on every rank.
  void Update(const Trainable& parameter, const Tensor& grad, double learning_rate, int64_t step);

  std::map<std::string, Moments>& moments() { return moments_; }

 private:
  AdamWOptions options_;
  std::map<std::string, Moments> moments_;
};

/// Sum of squares in f64.
double SquaredNorm(const Tensor& grad);
/// Factor min(1, limit / (norm + 1e-6)); 1 without a limit (0).
double ClipFactor(double norm, double limit);

enum class Schedule : uint8_t { kConstant, kCosine, kWsd };
struct ScheduleOptions {
  Schedule kind = Schedule::kCosine;
  double peak = 3e-4, floor = 3e-5;
  int64_t warmup_steps = 0, total_steps = 1;
  double decay_fraction = 0.2;  // WSD: the last part of the steps that falls linearly
};
/// Learning rate of step 1..total_steps.
double LearningRate(const ScheduleOptions& options, int64_t step);

}  // namespace mixtral::train
