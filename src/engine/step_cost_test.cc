// SPDX-License-Identifier: Apache-2.0
// The learned slice against machines that are formulas.
#include "engine/step_cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace mixtral {
namespace {

// Reads more experts with more rows, up to all of eight, then computes.
double SparseModel(int rows) {
  const double experts = 8 * (1 - std::pow(0.75, rows));
  return std::max(experts * 0.01, rows * 0.004) + 0.01;
}

TEST(StepCost, StreamsGoAloneOnceToSayWhatIsNormal) {
  StepCost cost;
  EXPECT_EQ(cost.PromptRows(1, 128), 0);
  cost.Record(0, 512, 5.0);
  EXPECT_EQ(cost.PromptRows(1, 128), 0);
  cost.Record(1, 0, 0.1);
  EXPECT_GE(cost.PromptRows(1, 128), 1);
  EXPECT_EQ(cost.PromptRows(8, 128), 0);
}

TEST(StepCost, GrowsToTheLimitAndNeverFarBeyond) {
  for (const int n_streams : {1, 4, 30}) {
    StepCost cost;
    cost.Record(0, 512, SparseModel(512));
    cost.Record(n_streams, 0, SparseModel(n_streams));
    const double normal = SparseModel(n_streams);
    int rows = 0;
    for (int step = 0; step < 400; ++step) {
      rows = cost.PromptRows(n_streams, 128);
      const double seconds = SparseModel(n_streams + rows);
      EXPECT_LE(seconds, 2.75 * normal) << n_streams << " streams, step " << step;
      cost.Record(n_streams, rows, seconds);
    }
    EXPECT_GE(SparseModel(n_streams + rows), 2.0 * normal) << "uses what is allowed";
  }
}

TEST(StepCost, AtLeastOneRowAndAtMostWhatIsAsked) {
  StepCost cost;
  cost.Record(1, 0, 0.01);
  cost.Record(1, 1, 9.0);
  EXPECT_EQ(cost.PromptRows(1, 128), 1);
  StepCost flat;  // where prompt rows cost nothing
  flat.Record(2, 0, 0.01);
  for (int step = 0; step < 20; ++step) flat.Record(2, flat.PromptRows(2, 40), 0.01);
  EXPECT_EQ(flat.PromptRows(2, 40), 40);
  EXPECT_EQ(flat.PromptRows(2, 7), 7);
}

TEST(StepCost, OneSlowStepIsForgotten) {
  StepCost cost;
  cost.Record(4, 0, 0.05);
  cost.Record(4, 4, 50.0);
  EXPECT_EQ(cost.PromptRows(4, 64), 1);
  int step = 0;
  for (; step < 20000 && cost.PromptRows(4, 64) < 64; ++step)
    cost.Record(4, cost.PromptRows(4, 64), 0.05);
  EXPECT_LT(step, 10000);
}

TEST(StepCost, StreamsAloneDoNotMakeItForget) {
  StepCost cost;
  cost.Record(1, 0, 0.05);
  cost.Record(0, 100, 5.0);
  for (int i = 0; i < 1000; ++i) cost.Record(1, 3, 0.12);
  const int rows = cost.PromptRows(1, 128);
  for (int i = 0; i < 100000; ++i) cost.Record(1, 0, 0.05);
  EXPECT_EQ(cost.PromptRows(1, 128), rows);
}

}  // namespace
}  // namespace mixtral
