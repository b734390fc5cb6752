// SPDX-License-Identifier: Apache-2.0
// Order statistics of a handful of samples.
#include "measure/statistics.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace mixtral {

Spread SpreadOf(std::span<const double> values) {
  Check(!values.empty(), "SpreadOf: at least one value");
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  const double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  return {median, sorted.front(), sorted.back(), static_cast<int>(n)};
}

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBetter:
      return "better";
    case Verdict::kWorse:
      return "worse";
    case Verdict::kNoise:
      break;
  }
  return "noise";
}

Verdict Compare(const Spread& now, const Spread& before, Direction direction) {
  if (now.n < kLeastSamples || before.n < kLeastSamples) return Verdict::kNoise;
  const bool higher = now.min > before.max, lower = now.max < before.min;
  if (!higher && !lower) return Verdict::kNoise;
  return higher == (direction == Direction::kHigherIsBetter) ? Verdict::kBetter : Verdict::kWorse;
}

}  // namespace mixtral
