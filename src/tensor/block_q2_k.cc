// SPDX-License-Identifier: Apache-2.0
// The plain Q2_K quantiser.
#include "tensor/block_q2_k.h"

#include "tensor/block_quantize.h"

namespace mixtral {

static void StoreScales(BlockQ2K& block, int j, int scale, int minimum) {
  block.scales[j] = static_cast<uint8_t>(scale | minimum << 4);
}

void QuantizeBlock(const float* x, BlockQ2K* block) noexcept {
  int q[256];
  QuantizeWithMinimums(x, 3, 15, block, q);
  for (int i = 0; i < 256; ++i) {
    uint8_t& byte = block->qs[i / 128 * 32 + i % 32];
    byte = static_cast<uint8_t>(byte | q[i] << (i / 32 % 4 * 2));
  }
}

}  // namespace mixtral
