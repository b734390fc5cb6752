// SPDX-License-Identifier: Apache-2.0
// The element types of weights, activations and caches: one table row each. kernels/ may include
// this file, so it includes nothing of base/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mixtral {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kI32
};
inline constexpr int kNumDTypes = 16;
inline constexpr int kNumMatrixDTypes = 15;  // all before kI32 can be the type of a weight matrix

struct DTypeInfo {
  std::string_view name;  // llama.cpp's spelling
  int block_elements;     // elements that share a block; rows are whole blocks
  int block_bytes;
  bool lossless;  // every value of a bf16 checkpoint survives
};

inline constexpr std::array<DTypeInfo, kNumDTypes> kDTypeInfo = {{
    {"F32", 1, 4, true},
    {"F16", 1, 2, false},
    {"BF16", 1, 2, true},
    {"Q8_0", 32, 34, false},
    {"Q4_0", 32, 18, false},
    {"Q4_1", 32, 20, false},
    {"Q5_0", 32, 22, false},
    {"Q5_1", 32, 24, false},
    {"Q2_K", 256, 84, false},
    {"Q3_K", 256, 110, false},
    {"Q4_K", 256, 144, false},
    {"Q5_K", 256, 176, false},
    {"Q6_K", 256, 210, false},
    {"IQ4_NL", 32, 18, false},
    {"IQ4_XS", 256, 136, false},
    {"I32", 1, 4, true},
}};

constexpr size_t Index(DType dtype) { return static_cast<size_t>(dtype); }
constexpr const DTypeInfo& Info(DType dtype) { return kDTypeInfo[Index(dtype)]; }
constexpr std::string_view Name(DType dtype) { return Info(dtype).name; }
/// Bytes of one row of n elements; n must be a multiple of block_elements.
constexpr size_t RowBytes(DType dtype, int64_t n) {
  return static_cast<size_t>(n) / static_cast<size_t>(Info(dtype).block_elements) *
         static_cast<size_t>(Info(dtype).block_bytes);
}

}  // namespace mixtral
