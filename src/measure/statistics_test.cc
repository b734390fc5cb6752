// SPDX-License-Identifier: Apache-2.0
// Medians, and when two intervals differ.
#include "measure/statistics.h"

#include <gtest/gtest.h>

#include <vector>

namespace mixtral {
namespace {

TEST(Spread, MedianMinMax) {
  const Spread odd = SpreadOf(std::vector<double>{5, 1, 3});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.max, 5);
  EXPECT_EQ(odd.n, 3);
  EXPECT_EQ(SpreadOf(std::vector<double>{4, 1, 3, 10}).median, 3.5);
  EXPECT_EQ(SpreadOf(std::vector<double>{7}).median, 7);
}

TEST(Compare, OnlyIntervalsThatDoNotMeetDiffer) {
  const Spread before = {10, 9, 11, 5};
  const auto higher = Direction::kHigherIsBetter, lower = Direction::kLowerIsBetter;
  EXPECT_EQ(Compare({12, 11.5, 13, 5}, before, higher), Verdict::kBetter);
  EXPECT_EQ(Compare({12, 11.5, 13, 5}, before, lower), Verdict::kWorse);
  EXPECT_EQ(Compare({8, 7, 8.9, 5}, before, higher), Verdict::kWorse);
  EXPECT_EQ(Compare({8, 7, 8.9, 5}, before, lower), Verdict::kBetter);
  EXPECT_EQ(Compare({14, 11, 20, 5}, before, higher), Verdict::kNoise);  // they touch at 11
  EXPECT_EQ(Compare({10, 9.5, 10.5, 5}, before, higher), Verdict::kNoise);
  EXPECT_EQ(Compare({5, 1, 20, 5}, before, higher), Verdict::kNoise);
}

TEST(Compare, TwoSamplesAreNoInterval) {
  EXPECT_EQ(Compare({20, 20, 20, 2}, {10, 9, 11, 5}, Direction::kHigherIsBetter), Verdict::kNoise);
  EXPECT_EQ(Compare({20, 20, 20, 5}, {10, 9, 11, 1}, Direction::kHigherIsBetter), Verdict::kNoise);
  EXPECT_EQ(Compare({20, 20, 20, 3}, {10, 9, 11, 3}, Direction::kHigherIsBetter), Verdict::kBetter);
}

}  // namespace
}  // namespace mixtral
