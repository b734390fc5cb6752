// SPDX-License-Identifier: Apache-2.0
// The plain Q4_1 quantiser.
#include "tensor/block_q4_1.h"

#include "tensor/block_quantize.h"

namespace mixtral {

void QuantizeBlock(const float* x, BlockQ4_1* block) noexcept {
  int q[32];
  QuantizeAboveMinimum(x, 15, block, q);
  for (int i = 0; i < 32; ++i)
    block->qs[i % 16] = static_cast<uint8_t>(block->qs[i % 16] | q[i] << (i / 16 * 4));
}

}  // namespace mixtral
