// SPDX-License-Identifier: Apache-2.0
// The weight formats: blocks written by hand decode to the values that their layout promises, and
// the quantisers stay within the bounds that the headers give.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tensor/block_q4_0.h"
#include "tensor/block_q4_k.h"
#include "tensor/block_q6_k.h"
#include "tensor/block_q8_0.h"
#include "tensor/dtype.h"

namespace mixtral {
namespace {

TEST(Blocks, SizesAreThoseOfTheTypeTable) {
  EXPECT_EQ(static_cast<size_t>(Info(DType::kQ8_0).block_bytes), sizeof(BlockQ8_0));
  EXPECT_EQ(static_cast<size_t>(Info(DType::kQ4_0).block_bytes), sizeof(BlockQ4_0));
  EXPECT_EQ(static_cast<size_t>(Info(DType::kQ4_K).block_bytes), sizeof(BlockQ4K));
  EXPECT_EQ(static_cast<size_t>(Info(DType::kQ6_K).block_bytes), sizeof(BlockQ6K));
}

TEST(Blocks, Q4_0HighNibblesAreTheSecondHalf) {
  BlockQ4_0 block{};
  block.d = F32ToF16(0.5f);
  block.qs[3] = 0xF1;
  float out[32];
  DequantizeRowQ4_0(&block, 32, out);
  EXPECT_EQ(out[3], 0.5f * (1 - 8));
  EXPECT_EQ(out[19], 0.5f * (15 - 8));
  EXPECT_EQ(out[4], 0.5f * -8);
}

TEST(Blocks, Q4KScalesOfTheUpperFourAreSplit) {
  BlockQ4K block{};
  block.d = F32ToF16(1);
  block.dmin = F32ToF16(2);
  block.scales[1] = 0xC0 | 5;  // sub-block 1: scale 5; sub-block 5: top two bits 3
  block.scales[5] = 0x80 | 7;  // sub-block 1: minimum 7; sub-block 5: top two bits 2
  block.scales[9] = 0x96;      // sub-block 5: scale low bits 6, minimum low bits 9
  block.qs[32] = 0x03;         // sub-block 2, element 0, and sub-block 3
  block.qs[0] = 0x40;          // sub-block 1, element 0
  block.qs[64] = 0x20;         // sub-block 5, element 0
  EXPECT_EQ(ScaleQ4K(block.scales, 5), 3 * 16 + 6);
  EXPECT_EQ(MinimumQ4K(block.scales, 5), 2 * 16 + 9);
  float out[256];
  DequantizeRowQ4K(&block, 256, out);
  EXPECT_EQ(out[32], 5 * 4 - 2 * 7);
  EXPECT_EQ(out[5 * 32], 54 * 2 - 2 * 41);
  EXPECT_EQ(out[64], 0);  // scale 0
}

TEST(Blocks, Q6KRunsShareBytes) {
  BlockQ6K block{};
  block.d = F32ToF16(1);
  for (int j = 0; j < 16; ++j) block.scales[j] = static_cast<int8_t>(j - 8);
  block.ql[64 + 32 + 2] = 0xA5;  // second half: run 1 low bits 5, run 3 low bits 10
  block.qh[32 + 2] = 0x8C;       // second half: run 0: 0, run 1: 3, run 2: 0, run 3: 2
  float out[256];
  DequantizeRowQ6K(&block, 256, out);
  EXPECT_EQ(out[128 + 32 + 2], (10 - 8) * (3 * 16 + 5 - 32));
  EXPECT_EQ(out[128 + 96 + 2], (14 - 8) * (2 * 16 + 10 - 32));
  EXPECT_EQ(out[128 + 64 + 2], (12 - 8) * -32);
}

class Quantisers : public ::testing::Test {
 protected:
  /// 4 blocks of 256 of different spread, with an outlier and a block of zeros.
  Quantisers() : x_(1024), out_(1024), row_(1024 * 2) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < x_.size(); ++i)
      x_[i] = i / 256 == 3 ? 0 : normal(random) * static_cast<float>(i / 256 + 1);
    x_[100] = -9;
  }
  float Error(size_t i) const { return std::fabs(x_[i] - out_[i]); }

  std::vector<float> x_, out_;
  std::vector<std::byte> row_;
};

TEST_F(Quantisers, Q8_0IsWithinHalfAStep) {
  QuantizeRowQ8_0(x_.data(), 1024, row_.data() + 1);
  DequantizeRowQ8_0(row_.data() + 1, 1024, out_.data());
  for (size_t i = 0; i < x_.size(); ++i) {
    const float d = F16ToF32(LoadUnaligned<uint16_t>(row_.data() + 1 + i / 32 * 34));
    EXPECT_LE(Error(i), 0.5001f * d) << i;
  }
}

TEST_F(Quantisers, Q4_0IsWithinAStep) {
  QuantizeRowQ4_0(x_.data(), 1024, row_.data() + 1);
  DequantizeRowQ4_0(row_.data() + 1, 1024, out_.data());
  for (size_t i = 0; i < x_.size(); ++i) {
    const float d = F16ToF32(LoadUnaligned<uint16_t>(row_.data() + 1 + i / 32 * 18));
    const bool beyond = x_[i] / d > 7.5f;
    EXPECT_LE(Error(i), (beyond ? 1.001f : 0.501f) * std::fabs(d)) << i;
  }
}

TEST_F(Quantisers, Q4KIsWithinItsBound) {
  QuantizeRowQ4K(x_.data(), 1024, row_.data() + 1);
  DequantizeRowQ4K(row_.data() + 1, 1024, out_.data());
  for (size_t i = 0; i < x_.size(); ++i) {
    const auto block = LoadUnaligned<BlockQ4K>(row_.data() + 1 + i / 256 * sizeof(BlockQ4K));
    const float d = F16ToF32(block.d), dmin = F16ToF32(block.dmin);
    const auto scale = static_cast<float>(ScaleQ4K(block.scales, static_cast<int>(i % 256) / 32));
    EXPECT_LE(Error(i), d * scale / 2 + d * 15 + dmin / 2 + 1e-6f) << i;
  }
}

TEST_F(Quantisers, Q6KIsWithinItsBound) {
  QuantizeRowQ6K(x_.data(), 1024, row_.data() + 1);
  DequantizeRowQ6K(row_.data() + 1, 1024, out_.data());
  for (size_t i = 0; i < x_.size(); ++i) {
    const auto block = LoadUnaligned<BlockQ6K>(row_.data() + 1 + i / 256 * sizeof(BlockQ6K));
    const float d = std::fabs(F16ToF32(block.d));
    const auto scale = std::fabs(static_cast<float>(block.scales[i % 256 / 16]));
    EXPECT_LE(Error(i), d * scale + 16 * d + 1e-6f) << i;
  }
}

TEST_F(Quantisers, MoreBitsMeanLessError) {
  float sums[4] = {};
  for (int type = 0; type < 4; ++type) {
    if (type == 0) QuantizeRowQ8_0(x_.data(), 1024, row_.data());
    if (type == 0) DequantizeRowQ8_0(row_.data(), 1024, out_.data());
    if (type == 1) QuantizeRowQ6K(x_.data(), 1024, row_.data());
    if (type == 1) DequantizeRowQ6K(row_.data(), 1024, out_.data());
    if (type == 2) QuantizeRowQ4K(x_.data(), 1024, row_.data());
    if (type == 2) DequantizeRowQ4K(row_.data(), 1024, out_.data());
    if (type == 3) QuantizeRowQ4_0(x_.data(), 1024, row_.data());
    if (type == 3) DequantizeRowQ4_0(row_.data(), 1024, out_.data());
    for (size_t i = 0; i < x_.size(); ++i) sums[type] += Error(i) * Error(i);
  }
  EXPECT_LT(2 * sums[0], sums[1]);
  EXPECT_LT(2 * sums[1], sums[2]);
  EXPECT_LT(sums[2], sums[3]);
}

}  // namespace
}  // namespace mixtral
