// SPDX-License-Identifier: Apache-2.0
// Q6_K: 256 weights in 210 bytes, sixteen sub-blocks of 16, w = d * sc * (q - 32). The block, its
// decoding (inline, so that kernels/ needs no library) and a plain quantiser for tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace mixtral {

struct BlockQ6K {
  static constexpr int kElements = 256;
  uint8_t ql[128];    // low four bits; each half of 64 bytes serves 128 weights, see QuantQ6K
  uint8_t qh[64];     // high two bits; each half of 32 bytes serves 128 weights
  int8_t scales[16];  // of each 16 weights
  uint16_t d;         // f16
};
static_assert(sizeof(BlockQ6K) == 210 && offsetof(BlockQ6K, qh) == 128 &&
              offsetof(BlockQ6K, scales) == 192 && offsetof(BlockQ6K, d) == 208);

/// The 6 bits (0..63) of weight i. Within a half of 128, weights come in four runs of 32: runs 0
/// and 1 are the low nibbles of the 64 bytes of ql, runs 2 and 3 the high ones; run r owns bits
/// 2r, 2r+1 of the 32 bytes of qh.
inline int QuantQ6K(const BlockQ6K& block, int i) {
  const int half = i / 128, run = i / 32 % 4, l = i % 32;
  const int low = block.ql[half * 64 + run % 2 * 32 + l] >> (run / 2 * 4) & 15;
  return low | (block.qh[half * 32 + l] >> (run * 2) & 3) << 4;
}

/// row: n / 256 blocks at any alignment; out[n].
inline void DequantizeRowQ6K(const void* row, int64_t n, float* out) noexcept {
  const auto* bytes = static_cast<const std::byte*>(row);
  for (int64_t i = 0; i < n; i += 256, bytes += sizeof(BlockQ6K)) {
    const auto block = LoadUnaligned<BlockQ6K>(bytes);
    const float d = F16ToF32(block.d);
    for (int j = 0; j < 256; ++j) {
      const float scale = d * static_cast<float>(block.scales[j / 16]);
      out[i + j] = scale * static_cast<float>(QuantQ6K(block, j) - 32);
    }
  }
}

/// Plain rounding, the weight of largest magnitude of each 16 at -32 steps:
/// |error| <= |d * sc| / 2 + 16 * |d| (scales are rounded to 8 bits), up to |d * sc| + 16 * |d|
/// where +32 steps would be needed.
void QuantizeRowQ6K(const float* x, int64_t n, void* row) noexcept;

}  // namespace mixtral
