// SPDX-License-Identifier: Apache-2.0
// IQ4_XS: 256 weights in 136 bytes, eight sub-blocks of 32, w = d * (sc - 32) * kIQ4Values[q].
// Decoding is in block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_iq4_nl.h"

namespace mixtral {

struct BlockIQ4XS {
  static constexpr DType kDType = DType::kIQ4_XS;
  static constexpr int kElements = 256, kSubBlock = 32;
  static constexpr bool kMinimums = false;
  uint16_t d;           // f16
  uint16_t scales_h;    // bits 2j, 2j+1: the top two bits of the scale of sub-block j
  uint8_t scales_l[4];  // its low four bits: low nibbles sub-blocks 0, 2, 4, 6, high 1, 3, 5, 7
  uint8_t qs[128];      // 16 bytes per sub-block, each as in BlockIQ4NL
};
static_assert(sizeof(BlockIQ4XS) == 136 && offsetof(BlockIQ4XS, scales_l) == 4 &&
              offsetof(BlockIQ4XS, qs) == 8);

/// -32..31
inline int Scale(const BlockIQ4XS& block, int j) {
  const int low = block.scales_l[j / 2] >> (j % 2 * 4) & 15;
  const int high = block.scales_h >> (j * 2) & 3;
  return (low | high << 4) - 32;
}
/// w[256]
inline void Quants(const BlockIQ4XS& block, int8_t* w) {
  for (int j = 0; j < 8; ++j) LookUpIQ4(block.qs + j * 16, w + j * 32);
}

/// The weight of largest magnitude of each 32 at -127 steps: |error| <= 14 * |d * sc| + 64 * |d|
/// (scales are rounded to 6 bits).
void QuantizeBlock(const float* x, BlockIQ4XS* block) noexcept;

}  // namespace mixtral
