// SPDX-License-Identifier: Apache-2.0
// Counters and captures of routings made by hand.
#include "engine/routing_watch.h"

#include <gtest/gtest.h>

namespace mixtral {
namespace {

class RoutingWatchTest : public ::testing::Test {
 protected:
  // Rows of two choices; the same in both layers, but for the weights.
  void Step(const std::vector<SeqRange>& ranges, const std::vector<int32_t>& ids) {
    const auto n = static_cast<int64_t>(ids.size() / 2);
    std::vector<float> weights;
    for (int layer = 0; layer < 2; ++layer) {
      weights.clear();
      for (size_t i = 0; i < ids.size(); ++i)
        weights.push_back(static_cast<float>(i) + 100.0f * static_cast<float>(layer));
      const std::vector<TokenId> tokens(static_cast<size_t>(n));
      Routing routing;
      routing.expert_ids = {ids.data(), n, 2, 2};
      routing.weights = {weights.data(), n, 2, 2};
      watch_.OnRouting(layer, {.tokens = tokens, .ranges = ranges, .logit_rows = {}}, routing, {});
    }
  }
  static ModelConfig Config() {
    ModelConfig config;
    config.n_layers = 2;
    config.n_experts = 4;
    return config;
  }
  RoutingWatch watch_{Config(), 3};
};

TEST_F(RoutingWatchTest, CountsAssignmentsAndRepetitionWithinSequences) {
  Step({{0, 0, 2, 0}, {2, 2, 2, 7}}, {0, 1, 0, 2, 3, 1, 1, 2});
  EXPECT_EQ(watch_.counters().expert_tokens, (std::vector<int64_t>{2, 3, 2, 1, 2, 3, 2, 1}));
  EXPECT_EQ(watch_.counters().routed_pairs, 2);  // the first token of each has nobody before
  EXPECT_EQ(watch_.counters().first_repeats, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(watch_.counters().either_repeats, (std::vector<int64_t>{2, 2}));
  // Across steps, per sequence.
  Step({{2, 0, 1, 9}, {0, 1, 1, 2}}, {1, 0, 1, 3});
  EXPECT_EQ(watch_.counters().routed_pairs, 4);
  EXPECT_EQ(watch_.counters().first_repeats, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(watch_.counters().either_repeats, (std::vector<int64_t>{3, 3}));
  // Not after a gap, nor when another sequence has the id.
  Step({{2, 0, 1, 12}}, {1, 0});
  watch_.Forget(2);
  Step({{2, 0, 1, 13}}, {1, 0});
  EXPECT_EQ(watch_.counters().routed_pairs, 4);
}

TEST_F(RoutingWatchTest, RowsWithFewerExpertsEndInNone) {
  Step({{0, 0, 2, 0}}, {0, -1, 1, -1});
  EXPECT_EQ(watch_.counters().expert_tokens, (std::vector<int64_t>{1, 1, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(watch_.counters().either_repeats, (std::vector<int64_t>{0, 0}));
}

TEST_F(RoutingWatchTest, CapturesTheLastRowsOfASequence) {
  std::vector<TokenRouting> rows(2), one(1);
  watch_.Capture(1, rows, 2);
  watch_.Capture(2, one, 1);
  Step({{1, 0, 3, 5}, {2, 3, 1, 0}}, {0, 1, 2, 3, 1, 0, 3, 2});
  EXPECT_EQ(rows[0].position, 6);
  EXPECT_EQ(rows[1].position, 7);
  EXPECT_EQ(rows[0].expert_ids, (std::vector<uint8_t>{2, 3, 2, 3}));
  EXPECT_EQ(rows[1].weights, (std::vector<float>{4, 5, 104, 105}));
  EXPECT_EQ(one[0].expert_ids, (std::vector<uint8_t>{3, 3}));
  EXPECT_EQ(one[0].weights, (std::vector<float>{6, 106}));
  watch_.Capture(1, {}, 2);
  Step({{1, 0, 1, 8}}, {2, 1});
  EXPECT_EQ(rows[1].position, 7);
}

}  // namespace
}  // namespace mixtral
