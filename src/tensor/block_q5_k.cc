// SPDX-License-Identifier: Apache-2.0
// The plain Q5_K quantiser.
#include "tensor/block_q5_k.h"

#include "tensor/block_quantize.h"

namespace mixtral {

static void StoreScales(BlockQ5K& block, int j, int scale, int minimum) {
  StoreScalesQ4K(block.scales, j, scale, minimum);
}

void QuantizeBlock(const float* x, BlockQ5K* block) noexcept {
  int q[256];
  QuantizeWithMinimums(x, 31, 63, block, q);
  for (int i = 0; i < 256; ++i) {
    uint8_t& low = block->qs[i / 64 * 32 + i % 32];
    uint8_t& high = block->qh[i % 32];
    low = static_cast<uint8_t>(low | (q[i] & 15) << (i / 32 % 2 * 4));
    high = static_cast<uint8_t>(high | q[i] >> 4 << i / 32);
  }
}

}  // namespace mixtral
