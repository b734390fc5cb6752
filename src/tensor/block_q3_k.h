// SPDX-License-Identifier: Apache-2.0
// Q3_K: 256 weights in 110 bytes, sixteen sub-blocks of 16, w = d * (sc - 32) * (q - 4). Decoding
// is in block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ3K {
  static constexpr DType kDType = DType::kQ3_K;
  static constexpr int kElements = 256, kSubBlock = 16;
  static constexpr bool kMinimums = false;
  uint8_t hmask[32];   // bit r of byte l: the third bit of weight l of run r of 32
  uint8_t qs[64];      // low two bits; each half of 32 bytes serves 128 weights, see Quants
  uint8_t scales[12];  // sixteen 6-bit scales, see Scale
  uint16_t d;          // f16
};
static_assert(sizeof(BlockQ3K) == 110 && offsetof(BlockQ3K, qs) == 32 &&
              offsetof(BlockQ3K, scales) == 96 && offsetof(BlockQ3K, d) == 108);

/// -32..31. The low four bits of scales 0..7 and 8..15 are the low and high nibbles of bytes 0..7;
/// the top two bits of scale j are bits 2 (j / 4), 2 (j / 4) + 1 of byte 8 + j mod 4.
inline int Scale(const BlockQ3K& block, int j) {
  const int low = block.scales[j % 8] >> (j / 8 * 4) & 15;
  const int high = block.scales[8 + j % 4] >> (j / 4 * 2) & 3;
  return (low | high << 4) - 32;
}
/// w[256], -4..3. Within a half of 128, run r of 32 weights owns bits 2r, 2r+1 of the 32 bytes.
inline void Quants(const BlockQ3K& block, int8_t* w) {
  for (int run = 0; run < 8; ++run) {
    for (int l = 0; l < 32; ++l) {
      const int low = block.qs[run / 4 * 32 + l] >> (run % 4 * 2) & 3;
      const int high = block.hmask[l] >> run & 1;
      w[run * 32 + l] = static_cast<int8_t>((low | high << 2) - 4);
    }
  }
}

/// Plain rounding, the weight of largest magnitude of each 16 at -4 steps:
/// |error| <= |d * sc| / 2 + 2 * |d| (scales are rounded to 6 bits), up to |d * sc| + 2 * |d| where
/// +4 steps would be needed.
void QuantizeBlock(const float* x, BlockQ3K* block) noexcept;

}  // namespace mixtral
