// SPDX-License-Identifier: Apache-2.0
// Random weights of every type: finite, centred, of the deviation asked for, new in every call.
#include "measure/random_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/kernel_table.h"

namespace mixtral {
namespace {

TEST(RandomWeights, FiniteCentredAndOfTheDeviationAskedFor) {
  const kernels::KernelTable table = kernels::BuildTable(kernels::Isa::kScalar);
  constexpr int kElements = 1 << 16;
  for (const float deviation : {1.0f, 1.0f / 64, 1.0f / 120}) {
    for (int i = 0; i < kNumMatrixDTypes; ++i) {
      const auto dtype = static_cast<DType>(i);
      RandomWeights weights(dtype, deviation, 3);
      std::vector<std::byte> bytes(RowBytes(dtype, kElements));
      weights.Fill(bytes);
      std::vector<float> values(kElements);
      table.to_f32[Index(dtype)].fn(bytes.data(), kElements, values.data());
      double sum = 0, squares = 0;
      for (const float value : values) {
        ASSERT_TRUE(std::isfinite(value)) << Name(dtype);
        sum += value;
        squares += static_cast<double>(value) * value;
      }
      const double measured = std::sqrt(squares / kElements);
      EXPECT_NEAR(sum / kElements / deviation, 0, 0.05) << Name(dtype);
      EXPECT_NEAR(measured / deviation, 1, 0.05) << Name(dtype);
    }
  }
}

TEST(RandomWeights, CallsGoOnAndSeedsDiffer) {
  std::vector<std::byte> a(144 * 4), b(144 * 4), c(144 * 4);
  RandomWeights first(DType::kQ4_K, 1, 3), second(DType::kQ4_K, 1, 4);
  first.Fill(a);
  first.Fill(b);
  second.Fill(c);
  EXPECT_NE(a, b);
  EXPECT_NE(a, c);
  RandomWeights again(DType::kQ4_K, 1, 3);
  again.Fill(c);
  EXPECT_EQ(a, c);
}

}  // namespace
}  // namespace mixtral
