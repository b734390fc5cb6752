// SPDX-License-Identifier: Apache-2.0
// Q5_1: 32 weights in 24 bytes, w = d * q + m. Decoding is in block_decode.h, matrix products in
// kernels/.
#pragma once

#include "tensor/block_q5_0.h"

namespace mixtral {

struct BlockQ5_1 {
  static constexpr DType kDType = DType::kQ5_1;
  static constexpr int kElements = 32, kSubBlock = 32;
  static constexpr bool kMinimums = true;
  uint16_t d;      // f16 scale
  uint16_t m;      // f16 value of q = 0
  uint8_t qh[4];   // as in BlockQ5_0
  uint8_t qs[16];  // as in BlockQ5_0
};
static_assert(sizeof(BlockQ5_1) == 24 && offsetof(BlockQ5_1, qh) == 4 &&
              offsetof(BlockQ5_1, qs) == 8);

/// w[32], 0..31
inline void Quants(const BlockQ5_1& block, int8_t* w) {
  for (int i = 0; i < 32; ++i) w[i] = static_cast<int8_t>(QuantQ5(block.qs, block.qh, i));
}

/// Plain rounding between the least and the largest weight: |error| <= d / 2 + the roundings of d
/// and m to f16.
void QuantizeBlock(const float* x, BlockQ5_1* block) noexcept;

}  // namespace mixtral
