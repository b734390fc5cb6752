// SPDX-License-Identifier: Apache-2.0
// The plain IQ4_XS quantiser.
#include "tensor/block_iq4_xs.h"

#include "tensor/block_quantize.h"

namespace mixtral {

static void StoreScale(BlockIQ4XS& block, int j, int scale) {
  const int bits = scale + 32;
  uint8_t& low = block.scales_l[j / 2];
  low = static_cast<uint8_t>(low | (bits & 15) << (j % 2 * 4));
  block.scales_h = static_cast<uint16_t>(block.scales_h | bits >> 4 << (j * 2));
}

void QuantizeBlock(const float* x, BlockIQ4XS* block) noexcept {
  int q[256];
  QuantizeAroundZero<&NearestIQ4>(x, 127, 32, block, q);
  for (int i = 0; i < 256; ++i) {
    uint8_t& byte = block->qs[i / 32 * 16 + i % 16];
    byte = static_cast<uint8_t>(byte | q[i] << (i / 16 % 2 * 4));
  }
}

}  // namespace mixtral
