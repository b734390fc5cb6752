// SPDX-License-Identifier: Apache-2.0
// Small trees of prompts by hand.
#include "eval/prefix_order.h"

#include <gtest/gtest.h>

namespace mixtral::eval {
namespace {

constexpr size_t kNone = PrefixOrder::kNone;

PrefixOrder OrderOf(const std::vector<std::vector<TokenId>>& prompts, size_t page = 2) {
  std::vector<std::span<const TokenId>> spans(prompts.begin(), prompts.end());
  return MakePrefixOrder(spans, page);
}

TEST(PrefixOrder, AnswersWaitForTheFirstOfTheirQuestion) {
  const PrefixOrder plan = OrderOf({{9, 9, 1, 3}, {5, 5}, {9, 9, 1, 2}, {9, 9, 2, 1}});
  EXPECT_EQ(plan.order, (std::vector<size_t>{1, 2, 0, 3}));
  EXPECT_EQ(plan.leader, (std::vector<size_t>{kNone, kNone, 1, 1}));
}

TEST(PrefixOrder, AQuestionWaitsForTheExamplesAndItsAnswersForTheQuestion) {
  const PrefixOrder plan =
      OrderOf({{1, 1, 2, 2, 1}, {1, 1, 2, 2, 2}, {1, 1, 3, 3, 1}, {1, 1, 3, 3, 2}, {1, 1, 3, 3}});
  EXPECT_EQ(plan.order, (std::vector<size_t>{0, 1, 4, 2, 3}));
  // The third question's page 0 is the first prompt's; its answers wait for the question itself.
  EXPECT_EQ(plan.leader, (std::vector<size_t>{kNone, 0, 0, 2, 2}));
}

TEST(PrefixOrder, LessThanAPageIsNotWaitedFor) {
  EXPECT_EQ(OrderOf({{1, 2, 3}, {1, 3, 3}, {1}}).leader, (std::vector<size_t>(3, kNone)));
  EXPECT_EQ(OrderOf({{1, 2, 3}, {1, 2, 4}, {1, 2}}).leader, (std::vector<size_t>{kNone, 0, 0}));
  EXPECT_TRUE(OrderOf({}).order.empty());
}

}  // namespace
}  // namespace mixtral::eval
