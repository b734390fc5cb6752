// SPDX-License-Identifier: Apache-2.0
// What the plain quantisers share: rounding without a search for better scales, which a converter
// would do. For tests and small models; included by the block_*.cc sources and by whoever encodes
// rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace mixtral {

/// x[n] -> n / Block::kElements blocks at any alignment, by QuantizeBlock(x, &block) of the format.
template <class Block>
void QuantizeRow(const float* x, int64_t n, void* row) noexcept {
  auto* bytes = static_cast<std::byte*>(row);
  for (int64_t i = 0; i < n; i += Block::kElements, bytes += sizeof(Block)) {
    Block block{};
    QuantizeBlock(x + i, &block);
    std::memcpy(bytes, &block, sizeof block);
  }
}

inline int RoundTo(float steps, int lowest, int highest) {
  return static_cast<int>(
      std::clamp(std::nearbyint(steps), static_cast<float>(lowest), static_cast<float>(highest)));
}

/// The element of largest magnitude, with its sign.
inline float Largest(const float* x, int n) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

/// Blocks of 32 with a minimum: from the least to the largest weight in levels steps; q[32] in
/// 0..levels.
template <class Block>
void QuantizeAboveMinimum(const float* x, int levels, Block* block, int* q) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  block->d = F32ToF16((*high - *low) / static_cast<float>(levels));
  block->m = F32ToF16(*low);
  const float d = F16ToF32(block->d), m = F16ToF32(block->m);
  for (int i = 0; i < 32; ++i) q[i] = d > 0 ? RoundTo((x[i] - m) / d, 0, levels) : 0;
}

/// Blocks of 256 with minimums: each sub-block from its least weight (or 0) to its largest in
/// levels steps, scales and minimums in largest_scale steps. Calls StoreScales(block, j, scale,
/// minimum); q[256] in 0..levels.
template <class Block>
void QuantizeWithMinimums(const float* x, int levels, int largest_scale, Block* block, int* q) {
  constexpr int kSub = Block::kSubBlock, kSubs = 256 / kSub;
  float scale[kSubs], minimum[kSubs];  // x ~ scale * q - minimum
  for (int j = 0; j < kSubs; ++j) {
    const auto [low, high] = std::minmax_element(x + j * kSub, x + (j + 1) * kSub);
    minimum[j] = std::max(0.0f, -*low);
    scale[j] = (std::max(0.0f, *high) + minimum[j]) / static_cast<float>(levels);
  }
  const auto steps = static_cast<float>(largest_scale);
  block->d = F32ToF16(*std::max_element(scale, scale + kSubs) / steps);
  block->dmin = F32ToF16(*std::max_element(minimum, minimum + kSubs) / steps);
  const float d = F16ToF32(block->d), dmin = F16ToF32(block->dmin);
  for (int j = 0; j < kSubs; ++j) {
    const int sc = d > 0 ? RoundTo(scale[j] / d, 0, largest_scale) : 0;
    const int m = dmin > 0 ? RoundTo(minimum[j] / dmin, 0, largest_scale) : 0;
    StoreScales(*block, j, sc, m);
    const float step = d * static_cast<float>(sc), offset = dmin * static_cast<float>(m);
    for (int i = j * kSub; i < (j + 1) * kSub; ++i)
      q[i] = step > 0 ? RoundTo((x[i] + offset) / step, 0, levels) : 0;
  }
}

/// Blocks of 256 without: the weight of largest magnitude of each sub-block at -reach, scales in
/// -scale_reach .. scale_reach - 1 steps. Calls StoreScale(block, j, scale); q[256] = kNearest(x in
/// steps).
template <int (*kNearest)(float), class Block>
void QuantizeAroundZero(const float* x, int reach, int scale_reach, Block* block, int* q) {
  constexpr int kSub = Block::kSubBlock, kSubs = 256 / kSub;
  float scale[kSubs];
  for (int j = 0; j < kSubs; ++j)
    scale[j] = Largest(x + j * kSub, kSub) / static_cast<float>(-reach);
  block->d = F32ToF16(Largest(scale, kSubs) / static_cast<float>(-scale_reach));
  const float d = F16ToF32(block->d);
  for (int j = 0; j < kSubs; ++j) {
    const int sc = d != 0 ? RoundTo(scale[j] / d, -scale_reach, scale_reach - 1) : 0;
    StoreScale(*block, j, sc);
    const float step = d * static_cast<float>(sc);
    for (int i = j * kSub; i < (j + 1) * kSub; ++i) q[i] = kNearest(step != 0 ? x[i] / step : 0);
  }
}

}  // namespace mixtral
