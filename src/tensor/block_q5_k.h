// SPDX-License-Identifier: Apache-2.0
// Q5_K: 256 weights in 176 bytes, eight sub-blocks of 32, w = d * sc * q - dmin * m; Q4_K with a
// fifth bit. Decoding is in block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_q4_k.h"

namespace mixtral {

struct BlockQ5K {
  static constexpr DType kDType = DType::kQ5_K;
  static constexpr int kElements = 256, kSubBlock = 32;
  static constexpr bool kMinimums = true;
  uint16_t d;          // f16 scale of the scales
  uint16_t dmin;       // f16 scale of the minimums
  uint8_t scales[12];  // as in BlockQ4K
  uint8_t qh[32];      // bit j of byte l: the fifth bit of weight l of sub-block j
  uint8_t qs[128];     // low four bits, as in BlockQ4K
};
static_assert(sizeof(BlockQ5K) == 176 && offsetof(BlockQ5K, qh) == 16 &&
              offsetof(BlockQ5K, qs) == 48);

inline int Scale(const BlockQ5K& block, int j) { return ScaleQ4K(block.scales, j); }
inline int Minimum(const BlockQ5K& block, int j) { return MinimumQ4K(block.scales, j); }
/// w[256], 0..31
inline void Quants(const BlockQ5K& block, int8_t* w) {
  for (int j = 0; j < 8; ++j) {
    for (int l = 0; l < 32; ++l) {
      const int low = block.qs[j / 2 * 32 + l] >> (j % 2 * 4) & 15;
      w[j * 32 + l] = static_cast<int8_t>(low | (block.qh[l] >> j & 1) << 4);
    }
  }
}

/// Plain rounding between the least (or 0) and the largest weight of each sub-block:
/// |error| <= d * sc / 2 + d * 31 + dmin / 2 (scales and minimums are rounded to 6 bits).
void QuantizeBlock(const float* x, BlockQ5K* block) noexcept;

}  // namespace mixtral
