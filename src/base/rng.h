// SPDX-License-Identifier: Apache-2.0
// A counter-based generator: the n-th number of stream (seed, stream) is a pure function, so the
// same seed gives the same numbers on any thread and in any order. Shared by the sampler, weight
// initialisation and tests.
#pragma once

#include <cmath>
#include <cstdint>

namespace mixtral {

class CounterRng {
 public:
  explicit CounterRng(uint64_t seed, uint64_t stream = 0)
      : key_(Mix(seed ^ Mix(stream + kGolden))) {}

  uint64_t Bits(uint64_t counter) const { return Mix(key_ + kGolden * (counter + 1)); }
  /// Uniform in [0, 1) with 53 random bits.
  double Uniform(uint64_t counter) const {
    return static_cast<double>(Bits(counter) >> 11) * 0x1.0p-53;
  }
  /// Standard normal (Box-Muller on counters 2n and 2n+1).
  float Normal(uint64_t counter) const {
    const double u = 1.0 - Uniform(2 * counter);
    const double v = Uniform(2 * counter + 1);
    return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
  }

 private:
  static constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ULL;
  static constexpr uint64_t Mix(
      uint64_t z) {  // the finaliser of splitmix64 (Steele, Lea, Flood 2014)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  uint64_t key_;
};

}  // namespace mixtral
