// SPDX-License-Identifier: Apache-2.0
// Does it fit, and how fast could it be: on machines that are made up.
#include "measure/memory_report.h"

#include <gtest/gtest.h>

#include "model/kv_cache.h"
#include "spec/presets.h"

namespace mixtral {
namespace {

MemoryLimits With(uint64_t available) {
  MemoryLimits limits;
  limits.total = 2 * available;
  limits.available = available;
  return limits;
}

TEST(Fit, WeightsMayStayOnDiskCacheAndScratchMayNot) {
  EXPECT_EQ(FitOf(80, 20, With(100)), Fit::kYes);
  EXPECT_EQ(FitOf(81, 20, With(100)), Fit::kFromDisk);
  EXPECT_EQ(FitOf(1000, 100, With(100)), Fit::kFromDisk);
  EXPECT_EQ(FitOf(0, 101, With(100)), Fit::kNo);
  MemoryLimits limits = With(100);
  limits.group_left = 50;
  EXPECT_EQ(FitOf(80, 20, limits), Fit::kFromDisk);
  EXPECT_EQ(FitOf(0, 51, limits), Fit::kNo);
}

TEST(DescribeMemory, CachesOfMixtral8x7bAndTheSpeedThatReadingAllows) {
  const ModelConfig config = PresetConfig("mixtral-8x7b");
  MemoryPlan plan;
  plan.weight_bytes = 26'000'000'000;
  plan.active_bytes = 7'000'000'000;
  plan.scratch_bytes = 200'000'000;
  const Json fits = DescribeMemory(config, plan, With(40'000'000'000), ReadSpeed{35e9, 2});
  EXPECT_EQ(fits.At("decode_tokens_per_s").AsDouble(), 5);
  const Json contexts = fits.At("contexts");
  ASSERT_EQ(contexts.Size(), 4u);
  // 32 layers x 8 heads x 2 x 128 x 2 bytes = 128 KiB a position
  EXPECT_EQ(contexts.At(0).At("kv").At("F16").AsInt(), 4096 * 131072);
  EXPECT_EQ(contexts.At(3).At("kv").At("F32").AsInt(), 32768ll * 262144);
  EXPECT_EQ(contexts.At(3).At("fits").AsString(), "yes");
  EXPECT_NEAR(contexts.At(3).At("decode_tokens_per_s").AsDouble(), 35e9 / (7e9 + 32768.0 * 131072),
              1e-9);
  EXPECT_FALSE(contexts.At(3).At("beyond_model").AsBool());

  const Json small = DescribeMemory(config, plan, With(4'000'000'000), ReadSpeed{35e9, 2});
  EXPECT_EQ(small.At("contexts").At(0).At("fits").AsString(), "from disk");
  EXPECT_EQ(small.At("contexts").At(3).At("fits").AsString(), "no");
  EXPECT_FALSE(small.Find("decode_tokens_per_s").has_value());  // the disk's speed, not memory's
  EXPECT_FALSE(DescribeMemory(config, plan, With(40'000'000'000), std::nullopt)
                   .Find("decode_tokens_per_s")
                   .has_value());
}

TEST(DescribeMemory, AWindowIsAllThatDecodingReads) {
  const ModelConfig config = PresetConfig("mistral-7b");  // a window of 4096
  MemoryPlan plan;
  plan.weight_bytes = plan.active_bytes = 1'000'000'000;
  const Json memory = DescribeMemory(config, plan, With(90'000'000'000), ReadSpeed{1e9, 1});
  const Json contexts = memory.At("contexts");
  EXPECT_EQ(contexts.At(0).At("decode_tokens_per_s").AsDouble(),
            contexts.At(3).At("decode_tokens_per_s").AsDouble());
}

TEST(MeasureReadSpeed, NotWhereMemoryIsShort) {
  EXPECT_FALSE(MeasureReadSpeed(With(1 << 20)).has_value());
}

}  // namespace
}  // namespace mixtral
