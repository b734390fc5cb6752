// SPDX-License-Identifier: Apache-2.0
// Q8_0: 32 weights in 34 bytes, w = d * q. Decoding is in block_decode.h, matrix products in
// kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  static constexpr int kElements = 32, kSubBlock = 32;
  static constexpr bool kMinimums = false;
  uint16_t d;     // f16 scale
  int8_t qs[32];  // w[i] = d * qs[i]
};
static_assert(sizeof(BlockQ8_0) == 34 && offsetof(BlockQ8_0, qs) == 2);

/// w[32]
inline void Quants(const BlockQ8_0& block, int8_t* w) { std::memcpy(w, block.qs, 32); }

/// Rounds each weight to the nearest step: |error| <= d / 2.
void QuantizeBlock(const float* x, BlockQ8_0* block) noexcept;

}  // namespace mixtral
