// SPDX-License-Identifier: Apache-2.0
// Sizes of shapes at their limits.
#include "io/shape.h"

#include <gtest/gtest.h>

#include <vector>

namespace mixtral {
namespace {

std::optional<uint64_t> Bytes(DType dtype, const std::vector<int64_t>& shape) {
  return TensorBytes(dtype, shape);
}

TEST(ShapeTest, CountsBytesOfWholeBlocks) {
  EXPECT_EQ(Bytes(DType::kF32, {}), 4u);
  EXPECT_EQ(Bytes(DType::kBF16, {3, 5}), 30u);
  EXPECT_EQ(Bytes(DType::kF32, {7, 0}), 0u);
  EXPECT_EQ(Bytes(DType::kQ8_0, {2, 64}), 2u * 2 * 34);
  EXPECT_EQ(Bytes(DType::kQ6_K, {3, 256}), 3u * 210);
  EXPECT_EQ(Bytes(DType::kQ8_0, {64, 33}), std::nullopt) << "64 x 33 is whole blocks, a row is not";
}

TEST(ShapeTest, HasNoSizeBeyond63Bits) {
  EXPECT_EQ(Bytes(DType::kF32, {-1}), std::nullopt);
  EXPECT_EQ(Bytes(DType::kF16, {(int64_t{1} << 62) - 1}), (uint64_t{1} << 63) - 2);
  EXPECT_EQ(Bytes(DType::kF16, {int64_t{1} << 62}), std::nullopt);
  EXPECT_EQ(Bytes(DType::kF32, {int64_t{1} << 62}), std::nullopt);
  EXPECT_EQ(Bytes(DType::kF16, {int64_t{1} << 33, int64_t{1} << 33}), std::nullopt);
  EXPECT_EQ(Bytes(DType::kQ4_K, {int64_t{1} << 31, int64_t{1} << 32}), std::nullopt)
      << "the bytes would fit, the count of elements does not";
}

TEST(ShapeTest, PrintsShapes) {
  EXPECT_EQ(ShapeText({}), "[]");
  EXPECT_EQ(ShapeText(std::vector<int64_t>{64, -2}), "[64, -2]");
}

}  // namespace
}  // namespace mixtral
