// SPDX-License-Identifier: Apache-2.0
// Q4_0: 32 weights in 18 bytes, w = d * (q - 8). Decoding is in block_decode.h, matrix products in
// kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ4_0 {
  static constexpr DType kDType = DType::kQ4_0;
  static constexpr int kElements = 32, kSubBlock = 32;
  static constexpr bool kMinimums = false;
  uint16_t d;      // f16 scale
  uint8_t qs[16];  // low nibbles: weights 0..15, high nibbles: weights 16..31
};
static_assert(sizeof(BlockQ4_0) == 18 && offsetof(BlockQ4_0, qs) == 2);

/// w[32], -8..7
inline void Quants(const BlockQ4_0& block, int8_t* w) {
  for (int i = 0; i < 16; ++i) {
    w[i] = static_cast<int8_t>((block.qs[i] & 15) - 8);
    w[i + 16] = static_cast<int8_t>((block.qs[i] >> 4) - 8);
  }
}

/// The weight of largest magnitude becomes exactly q = 0 (-8 steps): |error| <= |d| / 2, and up to
/// |d| at the other end of the range, where +8 steps would be needed.
void QuantizeBlock(const float* x, BlockQ4_0* block) noexcept;

}  // namespace mixtral
