// SPDX-License-Identifier: Apache-2.0
// The order of operations is that of the goldens: decay, then the step with bias-corrected moments.
#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mixtral::train {

void AdamW::Update(const Trainable& parameter, const Tensor& grad, double learning_rate,
                   int64_t step) {
  const torch::NoGradGuard no_grad;
  Moments& moments = moments_[parameter.name];
  if (!moments.first.defined())
    moments = {torch::zeros_like(parameter.value), torch::zeros_like(parameter.value)};
  moments.first.mul_(options_.beta1);
  moments.second.mul_(options_.beta2);
  if (grad.defined()) {
    moments.first.add_(grad, 1 - options_.beta1);
    moments.second.addcmul_(grad, grad, 1 - options_.beta2);
  }
  Tensor value = parameter.value;
  if (parameter.decayed) value.mul_(1 - learning_rate * options_.weight_decay);
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(step));
  const Tensor denominator =
      moments.second.sqrt().div_(std::sqrt(correction2)).add_(options_.epsilon);
  value.addcdiv_(moments.first, denominator, -learning_rate / correction1);
}

double SquaredNorm(const Tensor& grad) {
  return grad.detach().to(torch::kFloat64).square().sum().item<double>();
}

double ClipFactor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

double LearningRate(const ScheduleOptions& options, int64_t step) {
  if (step < options.warmup_steps)
    return options.peak * static_cast<double>(step) / static_cast<double>(options.warmup_steps);
  const auto total = static_cast<double>(options.total_steps);
  const auto now = static_cast<double>(std::min(step, options.total_steps));
  const double span = options.peak - options.floor;
  switch (options.kind) {
    case Schedule::kConstant:
      return options.peak;
    case Schedule::kCosine: {
      const auto warmup = static_cast<double>(options.warmup_steps);
      const double done = total > warmup ? (now - warmup) / (total - warmup) : 1.0;
      return options.floor + span * 0.5 * (1 + std::cos(std::numbers::pi * done));
    }
    case Schedule::kWsd: {
      const double begin = total * (1 - options.decay_fraction);
      return now <= begin ? options.peak
                          : options.peak - span * (now - begin) / std::max(1.0, total - begin);
    }
  }
  return options.peak;
}

}  // namespace mixtral::train
