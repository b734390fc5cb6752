// SPDX-License-Identifier: Apache-2.0
// Random weights as rows of a file, and what they stand for: what kernels are tested with, by the
// conformance tests and by the self-check.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "tensor/block_formats.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace mixtral::kernels {

/// How the bits of quantised weights are chosen; the extremes show an overflow.
enum class Fill { kRandom, kOnes, kHighBits, kZeros };

/// One row of n stored weights: random, or every quant and scale at an extreme. Each f16 is between
/// 2^-7 and 2^-5 in magnitude.
inline void FillRow(DType dtype, int n, Fill fill, std::mt19937& random, std::byte* row) {
  const size_t bytes = RowBytes(dtype, n);
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) {
    std::normal_distribution<float> normal;
    for (int i = 0; i < n; ++i) {
      const float x = normal(random);
      const uint16_t half = dtype == DType::kF16 ? F32ToF16(x) : F32ToBf16(x);
      if (dtype == DType::kF32) std::memcpy(row + i * 4, &x, 4);
      if (dtype != DType::kF32) std::memcpy(row + i * 2, &half, 2);
    }
    return;
  }
  for (size_t i = 0; i < bytes; ++i) {
    row[i] = static_cast<std::byte>(fill == Fill::kRandom     ? random() & 255u
                                    : fill == Fill::kOnes     ? 255u
                                    : fill == Fill::kHighBits ? 128u
                                                              : 0u);
  }
  const auto block_bytes = static_cast<size_t>(Info(dtype).block_bytes);
  const BlockFormat& format = kBlockFormats[Index(dtype)];
  for (size_t i = 0; i < bytes; i += block_bytes) {
    std::uniform_real_distribution<float> uniform(0x1p-7f, 0x1p-5f);
    const uint16_t d = F32ToF16(random() % 2 == 0 ? uniform(random) : -uniform(random));
    const uint16_t dmin = F32ToF16(uniform(random));
    std::memcpy(row + i + format.d_at, &d, 2);
    if (format.m_at >= 0) std::memcpy(row + i + format.m_at, &dmin, 2);
  }
}

/// The definition of a stored row, by tensor/.
inline std::vector<float> Decode(DType dtype, const std::byte* row, int n) {
  std::vector<float> out(static_cast<size_t>(n));
  for (size_t i = 0; i < out.size(); ++i) {
    if (dtype == DType::kF32) out[i] = LoadUnaligned<float>(row + i * 4);
    if (dtype == DType::kF16) out[i] = F16ToF32(LoadUnaligned<uint16_t>(row + i * 2));
    if (dtype == DType::kBF16) out[i] = Bf16ToF32(LoadUnaligned<uint16_t>(row + i * 2));
  }
  if (const auto dequantize = kBlockFormats[Index(dtype)].dequantize; dequantize != nullptr)
    dequantize(row, n, out.data());
  return out;
}

inline std::vector<float> RandomFloats(size_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(random);
  return x;
}

inline uint32_t BitsOf(float x) { return std::bit_cast<uint32_t>(x); }

}  // namespace mixtral::kernels
