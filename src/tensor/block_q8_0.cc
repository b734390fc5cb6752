// SPDX-License-Identifier: Apache-2.0
// The plain Q8_0 quantiser.
#include "tensor/block_q8_0.h"

#include <algorithm>
#include <cmath>

namespace mixtral {

void QuantizeRowQ8_0(const float* x, int64_t n, void* row) noexcept {
  auto* bytes = static_cast<std::byte*>(row);
  for (int64_t i = 0; i < n; i += 32, bytes += sizeof(BlockQ8_0)) {
    float largest = 0;
    for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(x[i + j]));
    BlockQ8_0 block{};
    block.d = F32ToF16(largest / 127);
    const float d = F16ToF32(block.d);  // divide by the scale that decoding will use
    for (int j = 0; j < 32 && d > 0; ++j) {
      const float steps = std::clamp(std::nearbyint(x[i + j] / d), -127.0f, 127.0f);
      block.qs[j] = static_cast<int8_t>(steps);
    }
    std::memcpy(bytes, &block, sizeof block);
  }
}

}  // namespace mixtral
