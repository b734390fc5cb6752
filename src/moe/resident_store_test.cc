// SPDX-License-Identifier: Apache-2.0
// The waves of ResidentStore: everything at once when there is room, in pieces when not.
#include "moe/resident_store.h"

#include <gtest/gtest.h>

namespace mixtral {
namespace {

// rows says which expert it is: layer * 10 + expert.
ResidentStore TwoLayersOfThree() {
  std::vector<std::vector<ExpertWeights>> experts(2, std::vector<ExpertWeights>(3));
  for (size_t l = 0; l < 2; ++l)
    for (size_t e = 0; e < 3; ++e) experts[l][e].gate.rows = static_cast<int64_t>(l * 10 + e);
  return ResidentStore(std::move(experts));
}

TEST(ResidentStore, HandsOutAllAtOnce) {
  ResidentStore store = TwoLayersOfThree();
  const std::vector<int32_t> ids = {0, 2};
  std::vector<ExpertLease> leases(3);
  store.Prefetch(1, ids);
  store.Begin(1, ids);
  ASSERT_EQ(store.NextWave(leases), 2);
  EXPECT_EQ(leases[0].expert_id, 0);
  EXPECT_EQ(leases[0].weights.gate.rows, 10);
  EXPECT_EQ(leases[1].expert_id, 2);
  EXPECT_EQ(leases[1].weights.gate.rows, 12);
  EXPECT_EQ(store.NextWave(leases), 0);
  EXPECT_EQ(store.NextWave(leases), 0);
}

TEST(ResidentStore, SmallWavesCoverEverythingOnce) {
  ResidentStore store = TwoLayersOfThree();
  const std::vector<int32_t> ids = {0, 1, 2};
  std::vector<ExpertLease> one(1);
  store.Begin(0, ids);
  for (const int32_t id : ids) {
    ASSERT_EQ(store.NextWave(one), 1);
    EXPECT_EQ(one[0].expert_id, id);
    EXPECT_EQ(one[0].weights.gate.rows, id);
  }
  EXPECT_EQ(store.NextWave(one), 0);
}

TEST(ResidentStore, BeginStartsOver) {
  ResidentStore store = TwoLayersOfThree();
  const std::vector<int32_t> first = {0, 1, 2}, second = {1};
  std::vector<ExpertLease> one(1);
  store.Begin(0, first);
  ASSERT_EQ(store.NextWave(one), 1);
  store.Begin(1, second);
  ASSERT_EQ(store.NextWave(one), 1);
  EXPECT_EQ(one[0].weights.gate.rows, 11);
  EXPECT_EQ(store.NextWave(one), 0);
}

}  // namespace
}  // namespace mixtral
