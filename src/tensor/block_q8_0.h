// SPDX-License-Identifier: Apache-2.0
// Q8_0: 32 weights in 34 bytes, w = d * q. The block, its decoding (inline, so that kernels/ needs
// no library) and a plain quantiser for tests and small models. Matrix products are in kernels/.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace mixtral {

struct BlockQ8_0 {
  static constexpr int kElements = 32;
  uint16_t d;     // f16 scale
  int8_t qs[32];  // w[i] = d * qs[i]
};
static_assert(sizeof(BlockQ8_0) == 34 && offsetof(BlockQ8_0, qs) == 2);

/// row: n / 32 blocks at any alignment; out[n].
inline void DequantizeRowQ8_0(const void* row, int64_t n, float* out) noexcept {
  const auto* bytes = static_cast<const std::byte*>(row);
  for (int64_t i = 0; i < n; i += 32, bytes += sizeof(BlockQ8_0)) {
    const auto block = LoadUnaligned<BlockQ8_0>(bytes);
    const float d = F16ToF32(block.d);
    for (int j = 0; j < 32; ++j) out[i + j] = d * static_cast<float>(block.qs[j]);
  }
}

/// Rounds each weight to the nearest step: |error| <= d / 2. row receives n / 32 blocks.
void QuantizeRowQ8_0(const float* x, int64_t n, void* row) noexcept;

}  // namespace mixtral
