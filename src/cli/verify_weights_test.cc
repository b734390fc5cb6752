// SPDX-License-Identifier: Apache-2.0
// The scan of weights on made-up checkpoints: every type's NaN and Inf, norms, outliers, copies.
#include "cli/verify_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "model/fake_checkpoint.h"
#include "moe/resident_store.h"
#include "tensor/block_formats.h"
#include "tensor/float_bits.h"

namespace mixtral::cli {
namespace {

using mixtral::testing::FakeCheckpoint;

std::byte* BytesOf(const Checkpoint& checkpoint, const std::string& name) {
  return const_cast<std::byte*>(checkpoint.Find(name)->bytes.data());
}

/// A model without experts and layers: what is scanned are the checkpoint's tensors alone.
LoadedModel Plain() {
  LoadedModel model;
  model.experts = std::make_unique<ResidentStore>(std::vector<std::vector<ExpertWeights>>());
  return model;
}

WeightReport ScanAll(const Checkpoint& checkpoint, const LoadedModel& model, int n_threads = 2) {
  return ScanWeights(
      checkpoint, model, n_threads, [](int64_t, int64_t) {}, nullptr);
}

constexpr int64_t kRows = 3, kCols = 512;

TEST(VerifyWeights, FindsNanAndInfInTheScalesOfEveryType) {
  for (int t = 0; t < kNumMatrixDTypes; ++t) {
    const auto dtype = static_cast<DType>(t);
    SCOPED_TRACE(Name(dtype));
    const DTypeInfo& info = Info(dtype);
    const int64_t bad_block = 1;
    FakeCheckpoint checkpoint(CheckpointKind::kGguf, Json::Object());
    checkpoint.Put("w", dtype, {kRows, kCols});
    EXPECT_EQ(ScanAll(checkpoint, Plain()).tensors.at(0).first_bad, -1);
    std::byte* block = BytesOf(checkpoint, "w") + bad_block * info.block_bytes;
    std::memset(block, 0x11, static_cast<size_t>(info.block_bytes));
    const uint16_t nan = dtype == DType::kBF16 ? 0x7FC0 : 0x7E00;
    const float nan_f32 = std::numeric_limits<float>::quiet_NaN();
    if (dtype == DType::kF32)
      std::memcpy(block, &nan_f32, 4);
    else
      std::memcpy(block + kBlockFormats[Index(dtype)].d_at, &nan, 2);
    const WeightStats stats = ScanAll(checkpoint, Plain()).tensors.at(0);
    EXPECT_EQ(stats.n_nan, info.block_elements);
    EXPECT_EQ(stats.n_inf, 0);
    EXPECT_EQ(stats.first_bad, bad_block * info.block_elements);
    EXPECT_EQ(stats.n_values, kRows * kCols);

    if (const int m_at = kBlockFormats[Index(dtype)].m_at; m_at >= 0) {
      std::memset(block, 0x11, static_cast<size_t>(info.block_bytes));
      std::memcpy(block + m_at, &nan, 2);
      EXPECT_EQ(ScanAll(checkpoint, Plain()).tensors.at(0).n_nan, info.block_elements);
    }
  }
}

TEST(VerifyWeights, CountsInfinitiesAndMeasures) {
  FakeCheckpoint checkpoint(CheckpointKind::kGguf, Json::Object());
  checkpoint.Put("a", DType::kF32, {1, 7});  // not a multiple of anything
  auto* a = reinterpret_cast<float*>(BytesOf(checkpoint, "a"));
  for (int i = 0; i < 7; ++i) a[i] = static_cast<float>(i) - 5;
  checkpoint.Put("b", DType::kF32, {1000, 1200});  // more than one piece
  auto* b = reinterpret_cast<float*>(BytesOf(checkpoint, "b"));
  b[1'100'000] = -std::numeric_limits<float>::infinity();
  b[1'199'999] = 3;
  checkpoint.Put("ids", DType::kI32, {4});
  const WeightReport one = ScanAll(checkpoint, Plain(), 1), three = ScanAll(checkpoint, Plain(), 3);
  ASSERT_EQ(one.tensors.size(), 2u);
  EXPECT_EQ(one.skipped, std::vector<std::string>{"ids"});
  EXPECT_EQ(one.n_values, 1'200'007);
  EXPECT_EQ(one.tensors[0].largest, 5);
  EXPECT_DOUBLE_EQ(one.tensors[0].Rms(), std::sqrt((25 + 16 + 9 + 4 + 1 + 0 + 1) / 7.0));
  EXPECT_EQ(one.tensors[1].n_inf, 1);
  EXPECT_EQ(one.tensors[1].first_bad, 1'100'000);
  EXPECT_EQ(one.tensors[1].largest, 3);
  EXPECT_DOUBLE_EQ(one.tensors[1].squares, 9);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(one.tensors[i].squares, three.tensors[i].squares);
}

/// A layer of four experts, F32, each matrix [2, 8], all values those given for the expert.
struct Experts {
  explicit Experts(const std::array<float, 4>& values) {
    std::vector<std::vector<ExpertWeights>> layers(1);
    for (size_t e = 0; e < values.size(); ++e) {
      data[e].fill(values[e]);
      const auto part = [&](size_t i) {
        return WeightRef{Device::kCpu, DType::kF32, 2, 8, data[e].data() + i * 16, 32};
      };
      layers[0].push_back({part(0), part(1), part(2)});
    }
    model.config.n_layers = 1;
    model.config.n_experts = 4;
    model.experts = std::make_unique<ResidentStore>(std::move(layers));
  }
  std::array<std::array<float, 48>, 4> data;
  LoadedModel model;
};

TEST(VerifyWeights, OutliersAgainstTheMedianOfTheLayer) {
  const FakeCheckpoint checkpoint(CheckpointKind::kGguf, Json::Object());
  const std::array<float, 4> values = {1, 1.5f, 2, 9};
  const Experts experts(values);
  const WeightReport report = ScanAll(checkpoint, experts.model);
  ASSERT_EQ(report.experts.size(), 12u);
  for (const ExpertNorm& norm : report.experts) {
    EXPECT_EQ(norm.IsOutlier(), norm.expert == 3) << norm.expert;
    EXPECT_NEAR(norm.rms, values[static_cast<size_t>(norm.expert)], 1e-12);
  }
  EXPECT_NEAR(report.experts[3].ratio, 9 / 1.75, 1e-12);
  EXPECT_TRUE(report.copies.empty());
  EXPECT_EQ(report.tensors.at(0).name, "layer 0 gate expert 0");
}

TEST(VerifyWeights, CopiesOfExperts) {
  const FakeCheckpoint checkpoint(CheckpointKind::kGguf, Json::Object());
  Experts experts({1, 2, 1, 1});
  WeightReport report = ScanAll(checkpoint, experts.model);
  ASSERT_EQ(report.copies.size(), 1u);
  EXPECT_EQ(report.copies[0].experts, (std::vector<int>{0, 2, 3}));
  experts.data[3][47] = 1.0001f;  // the last value of down
  report = ScanAll(checkpoint, experts.model);
  EXPECT_EQ(report.copies.at(0).experts, (std::vector<int>{0, 2}));
}

TEST(VerifyWeights, CanBeCancelled) {
  FakeCheckpoint checkpoint(CheckpointKind::kGguf, Json::Object());
  checkpoint.Put("w", DType::kF32, {8, 8});
  const std::atomic<bool> cancel = true;
  EXPECT_TRUE(ScanWeights(
                  checkpoint, Plain(), 1, [](int64_t, int64_t) {}, &cancel)
                  .was_cancelled);
}

}  // namespace
}  // namespace mixtral::cli
