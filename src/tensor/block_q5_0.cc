// SPDX-License-Identifier: Apache-2.0
// The plain Q5_0 quantiser.
#include "tensor/block_q5_0.h"

#include "tensor/block_quantize.h"

namespace mixtral {

void QuantizeBlock(const float* x, BlockQ5_0* block) noexcept {
  block->d = F32ToF16(Largest(x, 32) / -16);
  const float d = F16ToF32(block->d);
  for (int i = 0; i < 32; ++i)
    StoreQuantQ5(block->qs, block->qh, i, 16 + (d != 0 ? RoundTo(x[i] / d, -16, 15) : 0));
}

}  // namespace mixtral
