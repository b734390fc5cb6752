// SPDX-License-Identifier: Apache-2.0
// The plain Q4_K quantiser: no search for better scales, which a converter would do.
#include "tensor/block_q4_k.h"

#include <algorithm>
#include <cmath>

namespace mixtral {
namespace {

int RoundTo(float steps, float largest) {
  return static_cast<int>(std::clamp(std::nearbyint(steps), 0.0f, largest));
}

void StoreScale(BlockQ4K& block, int j, int scale, int minimum) {
  uint8_t* s = block.scales;
  if (j < 4) {
    s[j] = static_cast<uint8_t>(s[j] | scale);
    s[j + 4] = static_cast<uint8_t>(s[j + 4] | minimum);
  } else {
    s[j + 4] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
    s[j - 4] = static_cast<uint8_t>(s[j - 4] | (scale >> 4) << 6);
    s[j] = static_cast<uint8_t>(s[j] | (minimum >> 4) << 6);
  }
}

BlockQ4K QuantizeBlock(const float* x) {
  float scale[8], minimum[8];  // per sub-block of 32: x ~ scale * q - minimum
  for (int j = 0; j < 8; ++j) {
    const auto [low, high] = std::minmax_element(x + j * 32, x + j * 32 + 32);
    minimum[j] = std::max(0.0f, -*low);
    scale[j] = (std::max(0.0f, *high) + minimum[j]) / 15;
  }
  BlockQ4K block{};
  block.d = F32ToF16(*std::max_element(scale, scale + 8) / 63);
  block.dmin = F32ToF16(*std::max_element(minimum, minimum + 8) / 63);
  const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
  for (int j = 0; j < 8; ++j) {
    const int sc = d > 0 ? RoundTo(scale[j] / d, 63) : 0;
    const int m = dmin > 0 ? RoundTo(minimum[j] / dmin, 63) : 0;
    StoreScale(block, j, sc, m);
    const float step = d * static_cast<float>(sc), offset = dmin * static_cast<float>(m);
    for (int l = 0; l < 32; ++l) {
      const int q = step > 0 ? RoundTo((x[j * 32 + l] + offset) / step, 15) : 0;
      uint8_t& byte = block.qs[j / 2 * 32 + l];
      byte = static_cast<uint8_t>(byte | q << (j % 2 * 4));
    }
  }
  return block;
}

}  // namespace

void QuantizeRowQ4K(const float* x, int64_t n, void* row) noexcept {
  auto* bytes = static_cast<std::byte*>(row);
  for (int64_t i = 0; i < n; i += 256, bytes += sizeof(BlockQ4K)) {
    const BlockQ4K block = QuantizeBlock(x + i);
    std::memcpy(bytes, &block, sizeof block);
  }
}

}  // namespace mixtral
