// SPDX-License-Identifier: Apache-2.0
// The plain IQ4_NL quantiser, and the nearest value of its list.
#include "tensor/block_iq4_nl.h"

#include "tensor/block_quantize.h"

namespace mixtral {

int NearestIQ4(float steps) {
  int nearest = 0;
  for (int i = 1; i < 16; ++i) {
    const float distance = std::fabs(steps - static_cast<float>(kIQ4Values[i]));
    if (distance < std::fabs(steps - static_cast<float>(kIQ4Values[nearest]))) nearest = i;
  }
  return nearest;
}

void QuantizeBlock(const float* x, BlockIQ4NL* block) noexcept {
  block->d = F32ToF16(Largest(x, 32) / -127);
  const float d = F16ToF32(block->d);
  for (int i = 0; i < 32; ++i) {
    const int q = NearestIQ4(d != 0 ? x[i] / d : 0);
    block->qs[i % 16] = static_cast<uint8_t>(block->qs[i % 16] | q << (i / 16 * 4));
  }
}

}  // namespace mixtral
