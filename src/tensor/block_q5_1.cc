// SPDX-License-Identifier: Apache-2.0
// The plain Q5_1 quantiser.
#include "tensor/block_q5_1.h"

#include "tensor/block_quantize.h"

namespace mixtral {

void QuantizeBlock(const float* x, BlockQ5_1* block) noexcept {
  int q[32];
  QuantizeAboveMinimum(x, 31, block, q);
  for (int i = 0; i < 32; ++i) StoreQuantQ5(block->qs, block->qh, i, q[i]);
}

}  // namespace mixtral
