// SPDX-License-Identifier: Apache-2.0
// FP8 weights (E4M3 beside their scales) as F16 tensors. Called by hf_dir.cc.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "io/mapped_checkpoint.h"
#include "io/quantization_config.h"

namespace mixtral {

/// E4M3 without infinities (OCP "FN"): bias 7, the largest is 448, only S.1111.111 is a NaN. Exact.
inline float E4m3ToF32(uint8_t byte) {
  const uint32_t sign = static_cast<uint32_t>(byte & 0x80u) << 24;
  const uint32_t exponent = (byte >> 3) & 0xFu, mantissa = byte & 7u;
  if (exponent == 0xF && mantissa == 7) return std::bit_cast<float>(sign | 0x7FC00000u);
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
  const float subnormal = static_cast<float>(mantissa) * 0x1.0p-9f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

/// For every E4M3 matrix X [rows, cols]: w = e4m3 * scale, rounded once to F16, where the scale is
/// X_scale or X_scale_inv (a factor, too, despite its name): one for all, one a row, or one for
/// each block of config. Throws Error{kNotFound, kCorrupt} naming the tensor.
std::vector<MadeTensor> DequantizedFp8(const Checkpoint& checkpoint,
                                       const std::vector<Fp8Tensor>& weights,
                                       const QuantizationConfig& config);

}  // namespace mixtral
