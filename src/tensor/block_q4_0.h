// SPDX-License-Identifier: Apache-2.0
// Q4_0: 32 weights in 18 bytes, w = d * (q - 8). The block, its decoding (inline, so that kernels/
// needs no library) and a plain quantiser for tests and small models.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace mixtral {

struct BlockQ4_0 {
  static constexpr int kElements = 32;
  uint16_t d;      // f16 scale
  uint8_t qs[16];  // low nibbles: weights 0..15, high nibbles: weights 16..31
};
static_assert(sizeof(BlockQ4_0) == 18 && offsetof(BlockQ4_0, qs) == 2);

/// row: n / 32 blocks at any alignment; out[n].
inline void DequantizeRowQ4_0(const void* row, int64_t n, float* out) noexcept {
  const auto* bytes = static_cast<const std::byte*>(row);
  for (int64_t i = 0; i < n; i += 32, bytes += sizeof(BlockQ4_0)) {
    const auto block = LoadUnaligned<BlockQ4_0>(bytes);
    const float d = F16ToF32(block.d);
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * static_cast<float>((block.qs[j] & 15) - 8);
      out[i + j + 16] = d * static_cast<float>((block.qs[j] >> 4) - 8);
    }
  }
}

/// The weight of largest magnitude becomes exactly q = 0 (-8 steps): |error| <= |d| / 2, and up to
/// |d| at the other end of the range, where +8 steps would be needed.
void QuantizeRowQ4_0(const float* x, int64_t n, void* row) noexcept;

}  // namespace mixtral
