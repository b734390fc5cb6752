// SPDX-License-Identifier: Apache-2.0
// Q2_K: 256 weights in 84 bytes, sixteen sub-blocks of 16, w = d * sc * q - dmin * m. Decoding is
// in block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ2K {
  static constexpr DType kDType = DType::kQ2_K;
  static constexpr int kElements = 256, kSubBlock = 16;
  static constexpr bool kMinimums = true;
  uint8_t scales[16];  // of each 16 weights: low nibble the scale, high nibble the minimum
  uint8_t qs[64];      // each half of 32 bytes serves 128 weights, see Quants
  uint16_t d;          // f16 scale of the scales
  uint16_t dmin;       // f16 scale of the minimums
};
static_assert(sizeof(BlockQ2K) == 84 && offsetof(BlockQ2K, qs) == 16 &&
              offsetof(BlockQ2K, d) == 80);

inline int Scale(const BlockQ2K& block, int j) { return block.scales[j] & 15; }
inline int Minimum(const BlockQ2K& block, int j) { return block.scales[j] >> 4; }
/// w[256], 0..3. Within a half of 128, run r of 32 weights owns bits 2r, 2r+1 of the 32 bytes.
inline void Quants(const BlockQ2K& block, int8_t* w) {
  for (int run = 0; run < 8; ++run) {
    for (int l = 0; l < 32; ++l) w[run * 32 + l] = block.qs[run / 4 * 32 + l] >> (run % 4 * 2) & 3;
  }
}

/// Plain rounding between the least (or 0) and the largest weight of each sub-block:
/// |error| <= d * sc / 2 + d * 3 + dmin / 2 (scales and minimums are rounded to 4 bits).
void QuantizeBlock(const float* x, BlockQ2K* block) noexcept;

}  // namespace mixtral
