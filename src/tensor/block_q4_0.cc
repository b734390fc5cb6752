// SPDX-License-Identifier: Apache-2.0
// The plain Q4_0 quantiser.
#include "tensor/block_q4_0.h"

#include <algorithm>
#include <cmath>

namespace mixtral {

void QuantizeRowQ4_0(const float* x, int64_t n, void* row) noexcept {
  auto* bytes = static_cast<std::byte*>(row);
  for (int64_t i = 0; i < n; i += 32, bytes += sizeof(BlockQ4_0)) {
    float largest = 0;  // with its sign: -8 steps reach further than +7
    for (int j = 0; j < 32; ++j) {
      if (std::fabs(x[i + j]) > std::fabs(largest)) largest = x[i + j];
    }
    BlockQ4_0 block{};
    block.d = F32ToF16(largest / -8);
    const float d = F16ToF32(block.d);
    for (int j = 0; j < 32; ++j) {
      const float steps = d != 0 ? std::clamp(std::nearbyint(x[i + j] / d), -8.0f, 7.0f) : 0.0f;
      const int q = static_cast<int>(steps) + 8;
      block.qs[j % 16] = static_cast<uint8_t>(block.qs[j % 16] | q << (j / 16 * 4));
    }
    std::memcpy(bytes, &block, sizeof block);
  }
}

}  // namespace mixtral
