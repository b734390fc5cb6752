// SPDX-License-Identifier: Apache-2.0
// The plain Q3_K quantiser.
#include "tensor/block_q3_k.h"

#include "tensor/block_quantize.h"

namespace mixtral {

static void StoreScale(BlockQ3K& block, int j, int scale) {
  const int bits = scale + 32;
  uint8_t& low = block.scales[j % 8];
  uint8_t& high = block.scales[8 + j % 4];
  low = static_cast<uint8_t>(low | (bits & 15) << (j / 8 * 4));
  high = static_cast<uint8_t>(high | bits >> 4 << (j / 4 * 2));
}
static int Nearest(float steps) { return RoundTo(steps, -4, 3); }

void QuantizeBlock(const float* x, BlockQ3K* block) noexcept {
  int q[256];
  QuantizeAroundZero<&Nearest>(x, 4, 32, block, q);
  for (int i = 0; i < 256; ++i) {
    const int bits = q[i] + 4;
    uint8_t& low = block->qs[i / 128 * 32 + i % 32];
    uint8_t& high = block->hmask[i % 32];
    low = static_cast<uint8_t>(low | (bits & 3) << (i / 32 % 4 * 2));
    high = static_cast<uint8_t>(high | bits >> 2 << i / 32);
  }
}

}  // namespace mixtral
