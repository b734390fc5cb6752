// SPDX-License-Identifier: Apache-2.0
// The plain Q6_K quantiser: no search for better scales, which a converter would do.
#include "tensor/block_q6_k.h"

#include <algorithm>
#include <cmath>

namespace mixtral {
namespace {

void StoreQuant(BlockQ6K& block, int i, int q) {
  const int half = i / 128, run = i / 32 % 4, l = i % 32;
  uint8_t& low = block.ql[half * 64 + run % 2 * 32 + l];
  uint8_t& high = block.qh[half * 32 + l];
  low = static_cast<uint8_t>(low | (q & 15) << (run / 2 * 4));
  high = static_cast<uint8_t>(high | (q >> 4) << (run * 2));
}

BlockQ6K QuantizeBlock(const float* x) {
  float scale[16], largest_scale = 0;  // per sub-block of 16: x ~ scale * (q - 32)
  for (int j = 0; j < 16; ++j) {
    float largest = 0;
    for (int l = 0; l < 16; ++l) {
      if (std::fabs(x[j * 16 + l]) > std::fabs(largest)) largest = x[j * 16 + l];
    }
    scale[j] = largest / -32;
    if (std::fabs(scale[j]) > std::fabs(largest_scale)) largest_scale = scale[j];
  }
  BlockQ6K block{};
  block.d = F32ToF16(largest_scale / -128);
  const float d = F16ToF32(block.d);
  for (int j = 0; j < 16; ++j) {
    const float sc = d != 0 ? std::clamp(std::nearbyint(scale[j] / d), -128.0f, 127.0f) : 0.0f;
    block.scales[j] = static_cast<int8_t>(sc);
    const float step = d * sc;
    for (int l = 0; l < 16; ++l) {
      const float q = step != 0 ? std::nearbyint(x[j * 16 + l] / step) : 0.0f;
      StoreQuant(block, j * 16 + l, static_cast<int>(std::clamp(q, -32.0f, 31.0f)) + 32);
    }
  }
  return block;
}

}  // namespace

void QuantizeRowQ6K(const float* x, int64_t n, void* row) noexcept {
  auto* bytes = static_cast<std::byte*>(row);
  for (int64_t i = 0; i < n; i += 256, bytes += sizeof(BlockQ6K)) {
    const BlockQ6K block = QuantizeBlock(x + i);
    std::memcpy(bytes, &block, sizeof block);
  }
}

}  // namespace mixtral
