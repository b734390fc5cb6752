// SPDX-License-Identifier: Apache-2.0
// Q5_0: 32 weights in 22 bytes, w = d * (q - 16). Decoding is in block_decode.h, matrix products in
// kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ5_0 {
  static constexpr DType kDType = DType::kQ5_0;
  static constexpr int kElements = 32, kSubBlock = 32;
  static constexpr bool kMinimums = false;
  uint16_t d;      // f16 scale
  uint8_t qh[4];   // bit i % 8 of byte i / 8: the fifth bit of weight i
  uint8_t qs[16];  // low nibbles: weights 0..15, high nibbles: weights 16..31
};
static_assert(sizeof(BlockQ5_0) == 22 && offsetof(BlockQ5_0, qs) == 6);

/// The 5 bits of weight i of a Q5_0 or Q5_1 block.
inline int QuantQ5(const uint8_t* qs, const uint8_t* qh, int i) {
  return (qs[i % 16] >> (i / 16 * 4) & 15) | (qh[i / 8] >> (i % 8) & 1) << 4;
}
/// Puts the 5 bits q into qs and qh, which were zero there.
inline void StoreQuantQ5(uint8_t* qs, uint8_t* qh, int i, int q) {
  qs[i % 16] = static_cast<uint8_t>(qs[i % 16] | (q & 15) << (i / 16 * 4));
  qh[i / 8] = static_cast<uint8_t>(qh[i / 8] | q >> 4 << (i % 8));
}

/// w[32], -16..15
inline void Quants(const BlockQ5_0& block, int8_t* w) {
  for (int i = 0; i < 32; ++i) w[i] = static_cast<int8_t>(QuantQ5(block.qs, block.qh, i) - 16);
}

/// The weight of largest magnitude becomes exactly q = 0 (-16 steps): |error| <= |d| / 2, and up to
/// |d| at the other end of the range, where +16 steps would be needed.
void QuantizeBlock(const float* x, BlockQ5_0* block) noexcept;

}  // namespace mixtral
