// SPDX-License-Identifier: Apache-2.0
// Q4_1: 32 weights in 20 bytes, w = d * q + m. Decoding is in block_decode.h, matrix products in
// kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ4_1 {
  static constexpr DType kDType = DType::kQ4_1;
  static constexpr int kElements = 32, kSubBlock = 32;
  static constexpr bool kMinimums = true;
  uint16_t d;      // f16 scale
  uint16_t m;      // f16 value of q = 0
  uint8_t qs[16];  // low nibbles: weights 0..15, high nibbles: weights 16..31
};
static_assert(sizeof(BlockQ4_1) == 20 && offsetof(BlockQ4_1, qs) == 4);

/// w[32], 0..15
inline void Quants(const BlockQ4_1& block, int8_t* w) {
  for (int i = 0; i < 16; ++i) {
    w[i] = block.qs[i] & 15;
    w[i + 16] = static_cast<int8_t>(block.qs[i] >> 4);
  }
}

/// Plain rounding between the least and the largest weight: |error| <= d / 2 + the roundings of d
/// and m to f16.
void QuantizeBlock(const float* x, BlockQ4_1* block) noexcept;

}  // namespace mixtral
