// SPDX-License-Identifier: Apache-2.0
// Q4_K: 256 weights in 144 bytes, eight sub-blocks of 32, w = d * sc * q - dmin * m. Decoding is in
// block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ4K {
  static constexpr DType kDType = DType::kQ4_K;
  static constexpr int kElements = 256, kSubBlock = 32;
  static constexpr bool kMinimums = true;
  uint16_t d;          // f16 scale of the scales
  uint16_t dmin;       // f16 scale of the minimums
  uint8_t scales[12];  // eight 6-bit scales and eight 6-bit minimums, see ScaleQ4K
  uint8_t qs[128];     // 32 bytes per pair of sub-blocks: low nibbles the first, high the second
};
static_assert(sizeof(BlockQ4K) == 144 && offsetof(BlockQ4K, scales) == 4 &&
              offsetof(BlockQ4K, qs) == 16);

/// Scale of sub-block j: bytes 0..3 hold the first four, the rest are split over bytes 8..11 (low
/// four bits) and the top two bits of bytes 0..3.
inline int ScaleQ4K(const uint8_t* scales, int j) {
  return j < 4 ? scales[j] & 63 : (scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4);
}
/// Minimum of sub-block j: bytes 4..7, the rest in the high four bits of bytes 8..11 and the top
/// two bits of bytes 4..7.
inline int MinimumQ4K(const uint8_t* scales, int j) {
  return j < 4 ? scales[j + 4] & 63 : (scales[j + 4] >> 4) | ((scales[j] >> 6) << 4);
}
/// Puts both into scales, which was zero there.
inline void StoreScalesQ4K(uint8_t* s, int j, int scale, int minimum) {
  if (j < 4) {
    s[j] = static_cast<uint8_t>(s[j] | scale);
    s[j + 4] = static_cast<uint8_t>(s[j + 4] | minimum);
  } else {
    s[j + 4] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
    s[j - 4] = static_cast<uint8_t>(s[j - 4] | (scale >> 4) << 6);
    s[j] = static_cast<uint8_t>(s[j] | (minimum >> 4) << 6);
  }
}

inline int Scale(const BlockQ4K& block, int j) { return ScaleQ4K(block.scales, j); }
inline int Minimum(const BlockQ4K& block, int j) { return MinimumQ4K(block.scales, j); }
/// w[256], 0..15
inline void Quants(const BlockQ4K& block, int8_t* w) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t byte = block.qs[pair * 32 + l];
      w[pair * 64 + l] = byte & 15;
      w[pair * 64 + 32 + l] = static_cast<int8_t>(byte >> 4);
    }
  }
}

/// Plain rounding between the least (or 0) and the largest weight of each sub-block:
/// |error| <= d * sc / 2 + d * 15 + dmin / 2 (scales and minimums are rounded to 6 bits).
void QuantizeBlock(const float* x, BlockQ4K* block) noexcept;

}  // namespace mixtral
