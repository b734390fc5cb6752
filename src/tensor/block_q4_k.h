// SPDX-License-Identifier: Apache-2.0
// Q4_K: 256 weights in 144 bytes, eight sub-blocks of 32, w = d * sc * q - dmin * m. The block, its
// decoding (inline, so that kernels/ needs no library) and a plain quantiser for tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace mixtral {

struct BlockQ4K {
  static constexpr int kElements = 256;
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

/// row: n / 256 blocks at any alignment; out[n].
inline void DequantizeRowQ4K(const void* row, int64_t n, float* out) noexcept {
  const auto* bytes = static_cast<const std::byte*>(row);
  for (int64_t i = 0; i < n; i += 256, bytes += sizeof(BlockQ4K)) {
    const auto block = LoadUnaligned<BlockQ4K>(bytes);
    const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>(ScaleQ4K(block.scales, j));
      const float minimum = dmin * static_cast<float>(MinimumQ4K(block.scales, j));
      const uint8_t* qs = block.qs + j / 2 * 32;
      const int shift = j % 2 * 4;
      for (int l = 0; l < 32; ++l) {
        const float product = scale * static_cast<float>((qs[l] >> shift) & 15);
        out[i + j * 32 + l] = product - minimum;
      }
    }
  }
}

/// Plain rounding between the least (or 0) and the largest weight of each sub-block:
/// |error| <= d * sc / 2 + d * 15 + dmin / 2 (scales and minimums are rounded to 6 bits).
void QuantizeRowQ4K(const float* x, int64_t n, void* row) noexcept;

}  // namespace mixtral
