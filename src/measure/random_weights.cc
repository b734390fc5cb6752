// SPDX-License-Identifier: Apache-2.0
// Random bits with scales put over them. The scales of a block type are found by decoding a sample,
// so that no format needs a constant of its own here.
#include "measure/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "tensor/block_formats.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr size_t kSampleBlocks = 512;

void PutScales(std::span<std::byte> blocks, DType dtype, uint16_t d, uint16_t m) {
  const BlockFormat& format = kBlockFormats[Index(dtype)];
  const auto block_bytes = static_cast<size_t>(Info(dtype).block_bytes);
  for (size_t i = 0; i < blocks.size(); i += block_bytes) {
    std::memcpy(&blocks[i + static_cast<size_t>(format.d_at)], &d, sizeof d);
    if (format.m_at >= 0) std::memcpy(&blocks[i + static_cast<size_t>(format.m_at)], &m, sizeof m);
  }
}

struct Moments {
  double mean = 0, deviation = 0;
};

Moments Measure(std::span<std::byte> blocks, DType dtype, float d, float m) {
  PutScales(blocks, dtype, F32ToF16(d), F32ToF16(m));
  const size_t n = blocks.size() / static_cast<size_t>(Info(dtype).block_bytes) *
                   static_cast<size_t>(Info(dtype).block_elements);
  std::vector<float> values(n);
  kBlockFormats[Index(dtype)].dequantize(blocks.data(), static_cast<int64_t>(n), values.data());
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const double mean = sum / static_cast<double>(n);
  return {mean, std::sqrt(squares / static_cast<double>(n) - mean * mean)};
}

}  // namespace

RandomWeights::RandomWeights(DType dtype, float deviation, uint64_t seed)
    : dtype_(dtype), rng_(seed) {
  Check(Index(dtype) < static_cast<size_t>(kNumMatrixDTypes), "a type of weights");
  if (Info(dtype).block_elements == 1)
    reach_ = deviation * std::sqrt(3.0f);  // of a uniform distribution
  else
    ChooseScales(deviation);
}

/// value = d * a + m * b with random a, b: m so that the mean is 0, then d for the deviation.
void RandomWeights::ChooseScales(float deviation) {
  const auto block_bytes = static_cast<size_t>(Info(dtype_).block_bytes);
  std::vector<std::byte> sample(kSampleBlocks * block_bytes);
  FillBits(sample);
  double ratio = 0;  // m / d
  if (kBlockFormats[Index(dtype_)].m_at >= 0)
    ratio = -Measure(sample, dtype_, 1, 0).mean / Measure(sample, dtype_, 0, 1).mean;
  const Moments moments = Measure(sample, dtype_, 1, static_cast<float>(ratio));
  const double d = deviation / moments.deviation;
  d_ = F32ToF16(static_cast<float>(d));
  m_ = F32ToF16(static_cast<float>(d * ratio));
}

void RandomWeights::Fill(std::span<std::byte> bytes) {
  Check(bytes.size() % static_cast<size_t>(Info(dtype_).block_bytes) == 0, "whole blocks");
  if (Info(dtype_).block_elements == 1) return FillFloats(bytes);
  FillBits(bytes);
  PutScales(bytes, dtype_, d_, m_);
  if (kBlockFormats[Index(dtype_)].m_at < 0) FlipSigns(bytes);
}

/// Of half of the blocks: the mean of -8..7 and its kin is not 0.
void RandomWeights::FlipSigns(std::span<std::byte> blocks) {
  constexpr std::byte kSign{0x80};
  const auto block_bytes = static_cast<size_t>(Info(dtype_).block_bytes);
  const auto sign_at = static_cast<size_t>(kBlockFormats[Index(dtype_)].d_at) + 1;
  for (size_t i = 0; i < blocks.size(); i += block_bytes)
    if (rng_.Bits(counter_++) >> 63 != 0) blocks[i + sign_at] ^= kSign;
}

void RandomWeights::FillBits(std::span<std::byte> bytes) {
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t bits = rng_.Bits(counter_++);
    std::memcpy(&bytes[i], &bits, std::min<size_t>(8, bytes.size() - i));
  }
}

/// Four values out of every 64 bits.
void RandomWeights::FillFloats(std::span<std::byte> bytes) {
  const auto size = static_cast<size_t>(Info(dtype_).block_bytes);
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes.size() / size; ++i, bits >>= 16) {
    if (i % 4 == 0) bits = rng_.Bits(counter_++);
    const float value = (static_cast<float>(bits & 0xFFFF) - 32767.5f) * (reach_ / 32768.0f);
    if (dtype_ == DType::kF32) {
      std::memcpy(&bytes[i * size], &value, sizeof value);
    } else {
      const uint16_t half = dtype_ == DType::kF16 ? F32ToF16(value) : F32ToBf16(value);
      std::memcpy(&bytes[i * size], &half, sizeof half);
    }
  }
}

}  // namespace mixtral
