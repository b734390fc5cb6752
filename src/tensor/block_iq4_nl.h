// SPDX-License-Identifier: Apache-2.0
// IQ4_NL: 32 weights in 18 bytes, w = d * kIQ4Values[q], sixteen values that lie closer together
// around zero. Decoding is in block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

inline constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

struct BlockIQ4NL {
  static constexpr DType kDType = DType::kIQ4_NL;
  static constexpr int kElements = 32, kSubBlock = 32;
  static constexpr bool kMinimums = false;
  uint16_t d;      // f16 scale
  uint8_t qs[16];  // low nibbles: weights 0..15, high nibbles: weights 16..31
};
static_assert(sizeof(BlockIQ4NL) == 18 && offsetof(BlockIQ4NL, qs) == 2);

/// w[32]: 16 bytes of nibbles looked up.
inline void LookUpIQ4(const uint8_t* qs, int8_t* w) {
  for (int i = 0; i < 16; ++i) {
    w[i] = kIQ4Values[qs[i] & 15];
    w[i + 16] = kIQ4Values[qs[i] >> 4];
  }
}
inline void Quants(const BlockIQ4NL& block, int8_t* w) { LookUpIQ4(block.qs, w); }

/// The nibble whose value is nearest to steps; the lower of two equally near.
int NearestIQ4(float steps);

/// The weight of largest magnitude at -127 steps: |error| <= 12 * |d| (half the widest gap), up to
/// 14 * |d| at the other end.
void QuantizeBlock(const float* x, BlockIQ4NL* block) noexcept;

}  // namespace mixtral
