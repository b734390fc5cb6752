// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: random weights of any type with their exact values, random
// activations, and a plain double-precision matrix product to compare with. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "tensor/block_formats.h"

namespace mixtral::cpu_test {

/// Bytes of a weight matrix as in a file (at an odd address) and the values that they mean.
struct TestWeight {
  std::vector<std::byte> storage;
  TensorView view;
  std::vector<float> values;  // [rows, cols]
  int64_t rows() const { return view.shape[0]; }
  int64_t cols() const { return view.shape[1]; }
};

inline void PutF16(std::byte* p, float value) {
  const uint16_t bits = F32ToF16(value);
  std::memcpy(p, &bits, sizeof bits);
}

/// Random blocks: every byte is random but for the scales, which stay small.
inline void FillRow(DType dtype, const CounterRng& rng, uint64_t counter, int64_t cols,
                    std::byte* row) {
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) {
    for (int64_t i = 0; i < cols; ++i) {
      const float value = 0.3f * rng.Normal(counter + static_cast<uint64_t>(i));
      const uint16_t half = dtype == DType::kF16 ? F32ToF16(value) : F32ToBf16(value);
      if (dtype == DType::kF32) std::memcpy(row + 4 * i, &value, 4);
      if (dtype != DType::kF32) std::memcpy(row + 2 * i, &half, 2);
    }
    return;
  }
  const auto block_bytes = static_cast<size_t>(Info(dtype).block_bytes);
  const size_t n = RowBytes(dtype, cols);
  for (size_t i = 0; i < n; ++i) row[i] = static_cast<std::byte>(rng.Bits(counter + i) & 0xFF);
  for (size_t b = 0; b < n; b += block_bytes) {
    const auto scale = static_cast<float>(rng.Uniform(counter + n + b));
    const BlockFormat& format = kBlockFormats[Index(dtype)];
    const float largest = block_bytes < 64 ? 1e-2f : format.m_at < 0 ? 1e-4f : 1e-3f;
    PutF16(row + b + format.d_at, largest * scale);
    if (format.m_at >= 0) PutF16(row + b + format.m_at, 5e-3f * scale);
  }
}

inline std::unique_ptr<TestWeight> RandomWeight(DType dtype, int64_t rows, int64_t cols,
                                                uint64_t seed) {
  auto weight = std::make_unique<TestWeight>();
  const size_t row_bytes = RowBytes(dtype, cols);
  weight->storage.resize(row_bytes * static_cast<size_t>(rows) + 1);
  weight->values.resize(static_cast<size_t>(rows * cols));
  std::byte* data = weight->storage.data() + 1;
  const char* problem = nullptr;
  const auto to_f32 = kernels::ActiveKernels(&problem)->to_f32[Index(dtype)].fn;
  for (int64_t r = 0; r < rows; ++r) {
    std::byte* row = data + static_cast<size_t>(r) * row_bytes;
    FillRow(dtype, CounterRng(seed, static_cast<uint64_t>(r)), 0, cols, row);
    to_f32(row, static_cast<int>(cols), weight->values.data() + r * cols);
  }
  weight->view = {dtype, 2, {rows, cols, 0, 0}, {data, row_bytes * static_cast<size_t>(rows)}};
  return weight;
}

inline void FillRandom(Activation x, uint64_t seed) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const CounterRng rng(seed, static_cast<uint64_t>(r));
    for (int64_t c = 0; c < x.cols; ++c) x.At(r, c) = rng.Normal(static_cast<uint64_t>(c));
  }
}

inline std::vector<float> Values(Matrix<const float> x) {
  std::vector<float> values;
  for (int64_t r = 0; r < x.rows; ++r) values.insert(values.end(), x.Row(r), x.Row(r) + x.cols);
  return values;
}

/// Same bits, which tells -0 from 0 and one NaN from another.
inline void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b,
                           const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  size_t different = 0, first = 0;
  for (size_t i = a.size(); i-- > 0;)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) ++different, first = i;
  EXPECT_EQ(different, 0u) << what << ": first at " << first << ": " << a[first] << " and "
                           << b[first];
}

/// x . w^T for one row in double, and the error that a mode may make in it: rounding of f32 sums,
/// and half a step of 1/127 of the largest activation where those are quantised.
struct Expected {
  double value = 0, bound = 0;
};
inline Expected Dot(const float* x, const float* w, int64_t n, bool quantised_activations) {
  double sum = 0, magnitude = 0, weight_sum = 0, largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double a = x[i], b = w[i];
    sum += a * b;
    magnitude += std::abs(a * b);
    weight_sum += std::abs(b);
    largest = std::max(largest, std::abs(a));
  }
  double bound = 2e-6 * magnitude + 1e-7;
  if (quantised_activations) bound += weight_sum * largest / 254 * 1.01;
  return {sum, bound};
}

inline bool IsQuantised(DType dtype) { return Info(dtype).block_elements > 1; }

/// A setup for tests of single operations; each test changes what it is about.
inline BackendSetup SmallSetup(int max_batch_tokens, int dim) {
  BackendSetup setup;
  setup.max_batch_tokens = max_batch_tokens;
  setup.max_slots = max_batch_tokens * 2;
  setup.dim = dim;
  setup.ffn_dim = dim;
  setup.n_experts = 4;
  setup.max_k = 2;
  setup.n_heads = 2;
  setup.n_kv_heads = 1;
  setup.head_dim = 8;
  setup.rope_theta = 1e4f;
  return setup;
}

}  // namespace mixtral::cpu_test
