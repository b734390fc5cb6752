// SPDX-License-Identifier: Apache-2.0
// How many forward steps had how many rows and took how long, counted in buckets for whoever reads
// the service's statistics (the server's /metrics).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace mixtral {

/// Values counted below bounds that ascend; the last count is of those above all of them.
template <size_t kBounds>
struct Histogram {
  std::array<double, kBounds> bounds{};
  std::array<int64_t, kBounds + 1> counts{};
  double sum = 0;

  void Add(double value) {
    const auto at = std::lower_bound(bounds.begin(), bounds.end(), value);
    ++counts[static_cast<size_t>(at - bounds.begin())];
    sum += value;
  }
};

struct StepHistograms {
  Histogram<11> rows = {.bounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}};
  Histogram<12> seconds = {
      .bounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}};
};

}  // namespace mixtral
