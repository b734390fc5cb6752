// SPDX-License-Identifier: Apache-2.0
// The plain Q6_K quantiser.
#include "tensor/block_q6_k.h"

#include "tensor/block_quantize.h"

namespace mixtral {

static void StoreScale(BlockQ6K& block, int j, int scale) {
  block.scales[j] = static_cast<int8_t>(scale);
}
static int Nearest(float steps) { return RoundTo(steps, -32, 31); }

void QuantizeBlock(const float* x, BlockQ6K* block) noexcept {
  int q[256];
  QuantizeAroundZero<&Nearest>(x, 32, 128, block, q);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, run = i / 32 % 4, l = i % 32, bits = q[i] + 32;
    uint8_t& low = block->ql[half * 64 + run % 2 * 32 + l];
    uint8_t& high = block->qh[half * 32 + l];
    low = static_cast<uint8_t>(low | (bits & 15) << (run / 2 * 4));
    high = static_cast<uint8_t>(high | (bits >> 4) << (run * 2));
  }
}

}  // namespace mixtral
