// SPDX-License-Identifier: Apache-2.0
// The plain Q4_0 quantiser.
#include "tensor/block_q4_0.h"

#include "tensor/block_quantize.h"

namespace mixtral {

void QuantizeBlock(const float* x, BlockQ4_0* block) noexcept {
  block->d = F32ToF16(Largest(x, 32) / -8);  // with its sign: -8 steps reach further than +7
  const float d = F16ToF32(block->d);
  for (int i = 0; i < 32; ++i) {
    const int q = 8 + (d != 0 ? RoundTo(x[i] / d, -8, 7) : 0);
    block->qs[i % 16] = static_cast<uint8_t>(block->qs[i % 16] | q << (i / 16 * 4));
  }
}

}  // namespace mixtral
