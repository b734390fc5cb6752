// SPDX-License-Identifier: Apache-2.0
// The weight formats: blocks written by hand decode to the values that their layout promises, and
// the quantisers stay within the bounds that the headers give.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tensor/block_formats.h"
#include "tensor/block_quantize.h"
#include "tensor/dtype.h"

namespace mixtral {
namespace {

template <class Block>
void ExpectSize() {
  EXPECT_EQ(static_cast<size_t>(Info(Block::kDType).block_bytes), sizeof(Block))
      << Name(Block::kDType);
  EXPECT_EQ(Info(Block::kDType).block_elements, Block::kElements) << Name(Block::kDType);
}
template <class... Blocks>
void ExpectSizes(BlockList<Blocks...>) {
  (ExpectSize<Blocks>(), ...);
}

TEST(Blocks, SizesAreThoseOfTheTypeTable) { ExpectSizes(AllBlocks{}); }

TEST(Blocks, EveryMatrixTypeIsPlainOrHasAFormat) {
  for (int i = 0; i < kNumMatrixDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(kBlockFormats[Index(dtype)].dequantize != nullptr, Info(dtype).block_elements > 1)
        << Name(dtype);
  }
  EXPECT_EQ(kBlockFormats[Index(DType::kQ6_K)].d_at, 208);
  EXPECT_EQ(kBlockFormats[Index(DType::kQ6_K)].m_at, -1);
  EXPECT_EQ(kBlockFormats[Index(DType::kQ2_K)].m_at, 82);
}

TEST(Blocks, Q4_0HighNibblesAreTheSecondHalf) {
  BlockQ4_0 block{};
  block.d = F32ToF16(0.5f);
  block.qs[3] = 0xF1;
  float out[32];
  DequantizeRow<BlockQ4_0>(&block, 32, out);
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
  DequantizeRow<BlockQ4K>(&block, 256, out);
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
  DequantizeRow<BlockQ6K>(&block, 256, out);
  EXPECT_EQ(out[128 + 32 + 2], (10 - 8) * (3 * 16 + 5 - 32));
  EXPECT_EQ(out[128 + 96 + 2], (14 - 8) * (2 * 16 + 10 - 32));
  EXPECT_EQ(out[128 + 64 + 2], (12 - 8) * -32);
}

TEST(Blocks, Q5KFifthBitsAreBitsOfOneByte) {
  BlockQ5K block{};
  block.d = F32ToF16(1);
  for (uint8_t& scale : block.scales) scale = 1;  // scale 1 and minimum 1, but dmin is 0
  block.qh[7] = 0x21;                             // sub-blocks 0 and 5
  block.qs[2 * 32 + 7] = 0x93;                    // sub-block 4: 3, sub-block 5: 9
  float out[256];
  DequantizeRow<BlockQ5K>(&block, 256, out);
  EXPECT_EQ(out[7], 16);
  EXPECT_EQ(out[4 * 32 + 7], 3);
  EXPECT_EQ(out[5 * 32 + 7], 9 + 16);
  EXPECT_EQ(out[6 * 32 + 7], 0);
}

TEST(Blocks, Q3KScalesAndThirdBitsAreSplit) {
  BlockQ3K block{};
  block.d = F32ToF16(1);
  block.scales[5] = 0x7C;      // scale 5: low bits 12, scale 13: low bits 7
  block.scales[8 + 1] = 0xB4;  // top bits of scales 1, 5, 9, 13: 0, 1, 3, 2
  block.qs[32 + 3] = 0x36;     // second half, runs 0..3: 2, 1, 3, 0
  block.hmask[3] = 0x40;       // run 6: the third of the second half
  EXPECT_EQ(Scale(block, 5), 1 * 16 + 12 - 32);
  EXPECT_EQ(Scale(block, 13), 2 * 16 + 7 - 32);
  float out[256];
  DequantizeRow<BlockQ3K>(&block, 256, out);
  EXPECT_EQ(out[128 + 3], -32 * (2 - 4));  // sub-block 8, scale 0 - 32
  EXPECT_EQ(out[128 + 64 + 3], -32 * 3);
  EXPECT_EQ(out[5 * 16 + 3], -4 * -4);  // sub-block 5, quant 0
}

TEST(Blocks, Q2KNibblesAreScaleAndMinimum) {
  BlockQ2K block{};
  block.d = F32ToF16(2);
  block.dmin = F32ToF16(0.5f);
  block.scales[9] = 0xA3;  // scale 3, minimum 10
  block.qs[32 + 17] = 0x02;
  float out[256];
  DequantizeRow<BlockQ2K>(&block, 256, out);
  EXPECT_EQ(out[128 + 17], 2 * 3 * 2 - 0.5f * 10);
  EXPECT_EQ(out[128 + 18], -0.5f * 10);
  EXPECT_EQ(out[128 + 15], 0);  // sub-block 8
}

TEST(Blocks, Q5FifthBitsAreBitsOfAWord) {
  BlockQ5_0 zero{};
  zero.d = F32ToF16(0.5f);
  zero.qs[3] = 0x2F;
  zero.qh[0] = 0x08;  // weight 3
  zero.qh[2] = 0x10;  // weight 20
  float out[32];
  DequantizeRow<BlockQ5_0>(&zero, 32, out);
  EXPECT_EQ(out[3], 0.5f * (31 - 16));
  EXPECT_EQ(out[19], 0.5f * (2 - 16));
  EXPECT_EQ(out[20], 0);
  BlockQ5_1 one{};
  one.d = F32ToF16(0.5f);
  one.m = F32ToF16(-3);
  one.qs[15] = 0x51;
  one.qh[3] = 0x80;
  DequantizeRow<BlockQ5_1>(&one, 32, out);
  EXPECT_EQ(out[15], 0.5f * 1 - 3);
  EXPECT_EQ(out[31], 0.5f * (5 + 16) - 3);
}

TEST(Blocks, Q4_1AddsItsMinimum) {
  BlockQ4_1 block{};
  block.d = F32ToF16(0.25f);
  block.m = F32ToF16(-1);
  block.qs[4] = 0xCD;
  float out[32];
  DequantizeRow<BlockQ4_1>(&block, 32, out);
  EXPECT_EQ(out[4], 0.25f * 13 - 1);
  EXPECT_EQ(out[20], 0.25f * 12 - 1);
}

// Every nibble once in either half; the list is the published one.
TEST(Blocks, IQ4NLLooksUpSixteenValues) {
  const float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                            1,    13,   25,  38,  53,  69,  89,  113};
  BlockIQ4NL block{};
  block.d = F32ToF16(0.5f);
  for (int i = 0; i < 16; ++i) block.qs[i] = static_cast<uint8_t>(i | (15 - i) << 4);
  float out[32];
  DequantizeRow<BlockIQ4NL>(&block, 32, out);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[i], 0.5f * values[i]);
    EXPECT_EQ(out[16 + i], 0.5f * values[15 - i]);
  }
}

TEST(Blocks, IQ4XSScalesAreSplit) {
  BlockIQ4XS block{};
  block.d = F32ToF16(2);
  block.scales_l[2] = 0xD5;                    // sub-blocks 4: 5, 5: 13
  block.scales_h = 2 << 8 | 3 << 10;           // sub-blocks 4: 2, 5: 3
  for (uint8_t& byte : block.qs) byte = 0x88;  // value 1
  block.qs[4 * 16 + 1] = 0xF0;                 // sub-block 4: elements 1 and 17
  block.qs[5 * 16 + 2] = 0x79;                 // sub-block 5: elements 2 and 18
  float out[256];
  DequantizeRow<BlockIQ4XS>(&block, 256, out);
  EXPECT_EQ(out[4 * 32], 2 * (2 * 16 + 5 - 32));
  EXPECT_EQ(out[4 * 32 + 1], 2 * 5 * -127);
  EXPECT_EQ(out[4 * 32 + 17], 2 * 5 * 113);
  EXPECT_EQ(out[5 * 32 + 2], 2 * (3 * 16 + 13 - 32) * 13);
  EXPECT_EQ(out[5 * 32 + 18], 2 * 29 * -10);
  EXPECT_EQ(out[0], 2 * -32);
}

/// 4 blocks of 256 of different spread, with an outlier and a block of zeros.
std::vector<float> Samples() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(1024);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = i / 256 == 3 ? 0 : normal(random) * static_cast<float>(i / 256 + 1);
  x[100] = -9;
  return x;
}

/// The header's bound of the error of weight i of a block, x its value. levels: the largest quant,
/// or the steps below zero.
template <class Block>
double Bound(const Block& block, int i, float x, int levels) {
  const double d = std::fabs(F16ToF32(block.d));
  double step = d, rounding = 1e-3 * (d + std::fabs(x));  // d and m are f16
  if constexpr (Block::kElements == 256) {
    step *= std::abs(Scale(block, i / Block::kSubBlock));
    rounding = d * levels;  // scales are rounded, each quant multiplies it
    if constexpr (Block::kMinimums) rounding += F16ToF32(block.dmin) / 2;
  }
  return (Block::kMinimums || levels == 127 ? 0.5 : 1) * step + rounding;
}

template <class Block>
class Quantiser : public ::testing::Test {};
using WithBounds = ::testing::Types<BlockQ8_0, BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ2K,
                                    BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K, BlockIQ4NL, BlockIQ4XS>;
TYPED_TEST_SUITE(Quantiser, WithBounds);

template <class Block>
int LevelsOf() {
  switch (Block::kDType) {
    case DType::kQ2_K:
      return 3;
    case DType::kQ3_K:
      return 4;
    case DType::kQ4_0:
      return 8;
    case DType::kQ4_1:
    case DType::kQ4_K:
      return 15;
    case DType::kQ5_0:
      return 16;
    case DType::kQ5_1:
    case DType::kQ5_K:
      return 31;
    case DType::kQ6_K:
      return 32;
    default:
      return 127;
  }
}

TYPED_TEST(Quantiser, IsWithinItsBound) {
  const std::vector<float> x = Samples();
  std::vector<float> out(x.size());
  std::vector<std::byte> row(x.size() * 2);
  QuantizeRow<TypeParam>(x.data(), 1024, row.data() + 1);
  DequantizeRow<TypeParam>(row.data() + 1, 1024, out.data());
  constexpr bool kLookUp =
      TypeParam::kDType == DType::kIQ4_NL || TypeParam::kDType == DType::kIQ4_XS;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto block =
        LoadUnaligned<TypeParam>(row.data() + 1 + i / TypeParam::kElements * sizeof(TypeParam));
    double bound =
        Bound(block, static_cast<int>(i % TypeParam::kElements), x[i], LevelsOf<TypeParam>());
    if (kLookUp) bound *= 28;  // up to 14 steps
    EXPECT_LE(std::fabs(x[i] - out[i]), bound) << i;
  }
  for (size_t i = 768; i < x.size(); ++i) EXPECT_EQ(out[i], 0) << i;
}

template <class Block>
double SquaredError() {
  const std::vector<float> x = Samples();
  std::vector<float> out(x.size());
  std::vector<std::byte> row(x.size() * 2);
  QuantizeRow<Block>(x.data(), 1024, row.data());
  DequantizeRow<Block>(row.data(), 1024, out.data());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (x[i] - out[i]) * (x[i] - out[i]);
  return sum;
}

TEST(Quantisers, MoreBitsMeanLessError) {
  EXPECT_LT(2 * SquaredError<BlockQ8_0>(), SquaredError<BlockQ6K>());
  EXPECT_LT(2 * SquaredError<BlockQ6K>(), SquaredError<BlockQ5K>());
  EXPECT_LT(2 * SquaredError<BlockQ5K>(), SquaredError<BlockQ4K>());
  EXPECT_LT(2 * SquaredError<BlockQ4K>(), SquaredError<BlockQ3K>());
  EXPECT_LT(SquaredError<BlockQ3K>(), SquaredError<BlockQ2K>());
  EXPECT_LT(2 * SquaredError<BlockQ5_1>(), SquaredError<BlockQ4_1>());
  EXPECT_LT(2 * SquaredError<BlockQ5_0>(), SquaredError<BlockQ4_0>());
  EXPECT_LT(SquaredError<BlockIQ4XS>(), SquaredError<BlockQ3K>());
  EXPECT_LT(SquaredError<BlockIQ4NL>(), SquaredError<BlockQ3K>());
  EXPECT_LT(SquaredError<BlockQ6K>(), SquaredError<BlockIQ4NL>());
}

}  // namespace
}  // namespace mixtral
