// SPDX-License-Identifier: Apache-2.0
// The plain Q4_K quantiser.
#include "tensor/block_q4_k.h"

#include "tensor/block_quantize.h"

namespace mixtral {

static void StoreScales(BlockQ4K& block, int j, int scale, int minimum) {
  StoreScalesQ4K(block.scales, j, scale, minimum);
}

void QuantizeBlock(const float* x, BlockQ4K* block) noexcept {
  int q[256];
  QuantizeWithMinimums(x, 15, 63, block, q);
  for (int i = 0; i < 256; ++i) {
    uint8_t& byte = block->qs[i / 64 * 32 + i % 32];
    byte = static_cast<uint8_t>(byte | q[i] << (i / 32 % 2 * 4));
  }
}

}  // namespace mixtral
