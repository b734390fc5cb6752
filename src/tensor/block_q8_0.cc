// SPDX-License-Identifier: Apache-2.0
// The plain Q8_0 quantiser.
#include "tensor/block_q8_0.h"

#include "tensor/block_quantize.h"

namespace mixtral {

void QuantizeBlock(const float* x, BlockQ8_0* block) noexcept {
  block->d = F32ToF16(std::fabs(Largest(x, 32)) / 127);
  const float d = F16ToF32(block->d);  // divide by the scale that decoding will use
  for (int i = 0; i < 32 && d > 0; ++i)
    block->qs[i] = static_cast<int8_t>(RoundTo(x[i] / d, -127, 127));
}

}  // namespace mixtral
