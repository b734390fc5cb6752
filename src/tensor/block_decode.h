// SPDX-License-Identifier: Apache-2.0
// Decoding of every block format, from what its header says: Quants(block, w), the integer weights,
// and, for blocks of 256, Scale(block, j) and Minimum(block, j) of sub-block j. Inline, so that
// kernels/ needs no library. Included by the block_*.h headers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace mixtral {

/// row: n / Block::kElements blocks at any alignment; out[n].
template <class Block>
inline void DequantizeRow(const void* row, int64_t n, float* out) noexcept {
  constexpr int kSub = Block::kSubBlock;
  const auto* bytes = static_cast<const std::byte*>(row);
  for (; n > 0; n -= Block::kElements, bytes += sizeof(Block), out += Block::kElements) {
    const auto block = LoadUnaligned<Block>(bytes);
    int8_t w[Block::kElements];
    Quants(block, w);
    const float d = F16ToF32(block.d);
    float dmin = 0;
    if constexpr (Block::kElements == 256 && Block::kMinimums) dmin = F16ToF32(block.dmin);
    for (int j = 0; j < Block::kElements / kSub; ++j) {
      float scale = d, minimum = 0;
      if constexpr (Block::kElements == 256) scale *= static_cast<float>(Scale(block, j));
      if constexpr (Block::kElements == 256 && Block::kMinimums)
        minimum = -(dmin * static_cast<float>(Minimum(block, j)));
      if constexpr (Block::kElements == 32 && Block::kMinimums) minimum = F16ToF32(block.m);
      for (int i = j * kSub; i < (j + 1) * kSub; ++i) {
        const float product = scale * static_cast<float>(w[i]);
        out[i] = Block::kMinimums ? product + minimum : product;
      }
    }
  }
}

}  // namespace mixtral
