// SPDX-License-Identifier: Apache-2.0
// Random weights of any type, for speed measurements: an engine does exactly the work on them that
// it does on real ones. For random_model.cc and for filling caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/rng.h"
#include "tensor/dtype.h"

namespace mixtral {

/// A stream of finite values of mean 0 and about the given standard deviation, encoded in a type.
/// The bits of quantised weights are uniformly random; scales are the same in every block but
/// for their sign.
class RandomWeights {
 public:
  /// dtype: any type of a weight matrix.
  RandomWeights(DType dtype, float deviation, uint64_t seed);
  /// bytes: whole blocks (elements) of the type; goes on where the last call ended.
  void Fill(std::span<std::byte> bytes);

 private:
  void FillFloats(std::span<std::byte> bytes);
  void FillBits(std::span<std::byte> bytes);
  void FlipSigns(std::span<std::byte> blocks);
  void ChooseScales(float deviation);

  DType dtype_;
  CounterRng rng_;
  uint64_t counter_ = 0;
  float reach_ = 0;         // float types: uniform in +-reach
  uint16_t d_ = 0, m_ = 0;  // block types: f16 scale and minimum
};

}  // namespace mixtral
