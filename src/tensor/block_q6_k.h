// SPDX-License-Identifier: Apache-2.0
// Q6_K: 256 weights in 210 bytes, sixteen sub-blocks of 16, w = d * sc * (q - 32). Decoding is in
// block_decode.h, matrix products in kernels/.
#pragma once

#include "tensor/block_decode.h"

namespace mixtral {

struct BlockQ6K {
  static constexpr DType kDType = DType::kQ6_K;
  static constexpr int kElements = 256, kSubBlock = 16;
  static constexpr bool kMinimums = false;
  uint8_t ql[128];    // low four bits; each half of 64 bytes serves 128 weights, see Quants
  uint8_t qh[64];     // high two bits; each half of 32 bytes serves 128 weights
  int8_t scales[16];  // of each 16 weights
  uint16_t d;         // f16
};
static_assert(sizeof(BlockQ6K) == 210 && offsetof(BlockQ6K, qh) == 128 &&
              offsetof(BlockQ6K, scales) == 192 && offsetof(BlockQ6K, d) == 208);

inline int Scale(const BlockQ6K& block, int j) { return block.scales[j]; }
/// w[256], -32..31. Within a half of 128, weights come in four runs of 32: runs 0 and 1 are the low
/// nibbles of the 64 bytes of ql, runs 2 and 3 the high ones; run r owns bits 2r, 2r+1 of the 32
/// bytes of qh.
inline void Quants(const BlockQ6K& block, int8_t* w) {
  for (int half = 0; half < 2; ++half) {
    for (int run = 0; run < 4; ++run, w += 32) {
      for (int l = 0; l < 32; ++l) {
        const int low = block.ql[half * 64 + run % 2 * 32 + l] >> (run / 2 * 4) & 15;
        const int high = block.qh[half * 32 + l] >> (run * 2) & 3;
        w[l] = static_cast<int8_t>((low | high << 4) - 32);
      }
    }
  }
}

/// Plain rounding, the weight of largest magnitude of each 16 at -32 steps:
/// |error| <= |d * sc| / 2 + 16 * |d| (scales are rounded to 8 bits), up to |d * sc| + 16 * |d|
/// where +32 steps would be needed.
void QuantizeBlock(const float* x, BlockQ6K* block) noexcept;

}  // namespace mixtral
