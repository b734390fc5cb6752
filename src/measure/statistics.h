// SPDX-License-Identifier: Apache-2.0
// Medians, intervals, and what may be said of two of them. Used by `mixtral bench`.
#pragma once

#include <span>
#include <string_view>

namespace mixtral {

struct Spread {
  double median = 0, min = 0, max = 0;
  int n = 0;  // samples
};

/// values: at least one. The median of an even number is the mean of the middle two.
Spread SpreadOf(std::span<const double> values);

enum class Verdict : uint8_t { kBetter, kWorse, kNoise };
std::string_view VerdictName(Verdict verdict);  // "better", "worse", "noise"

enum class Direction : uint8_t { kHigherIsBetter, kLowerIsBetter };

/// Better or worse only where the intervals min..max do not meet and both come from at least
/// kLeastSamples samples: fewer have no interval worth the name.
Verdict Compare(const Spread& now, const Spread& before, Direction direction);
inline constexpr int kLeastSamples = 3;

}  // namespace mixtral
