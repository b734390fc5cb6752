// SPDX-License-Identifier: Apache-2.0
// Routing against cases worked out by hand, its policies, its error messages, and the statistics
// that random logits must give (paper section 5, PAPER 4.1).
#include "moe/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/rng.h"

namespace mixtral {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Matrix<const float> AsMatrix(const std::vector<float>& values, int n_experts) {
  const auto rows = static_cast<int64_t>(values.size()) / n_experts;
  return {values.data(), rows, n_experts, n_experts};
}

std::vector<int32_t> Ids(const Routing& routing, int64_t t) {
  const int32_t* row = routing.expert_ids.Row(t);
  return {row, row + routing.expert_ids.cols};
}

std::vector<int32_t> Group(const Routing& routing, size_t e) {
  const auto begin = routing.slots.begin() + routing.offsets[e];
  return {begin, routing.slots.begin() + routing.offsets[e + 1]};
}

using Ints = std::vector<int32_t>;

TEST(Routing, TwoOfFourByHand) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 1.0f,   // 1 then 3
                                     3.0f, 0.0f, 2.0f,  -2.0f,  // 0 then 2
                                     0.0f, 5.0f, 1.0f,  4.0f};  // 1 then 3
  RoutingBuffer buffer(3, 2, 4);
  const Routing routing = buffer.Route(AsMatrix(logits, 4), 2, {});
  ASSERT_EQ(routing.expert_ids.rows, 3);
  ASSERT_EQ(routing.expert_ids.cols, 2);
  EXPECT_EQ(Ids(routing, 0), (Ints{1, 3}));
  EXPECT_EQ(Ids(routing, 1), (Ints{0, 2}));
  EXPECT_EQ(Ids(routing, 2), (Ints{1, 3}));
  // Differences are 1 in all rows: weights e/(e+1) and 1/(e+1).
  for (int64_t t = 0; t < 3; ++t) {
    EXPECT_NEAR(routing.weights.At(t, 0), 0.7310585786f, 1e-6f);
    EXPECT_NEAR(routing.weights.At(t, 1), 0.2689414214f, 1e-6f);
  }
  EXPECT_EQ((Ints{routing.offsets.begin(), routing.offsets.end()}), (Ints{0, 1, 3, 4, 6}));
  EXPECT_EQ(Group(routing, 0), (Ints{2}));
  EXPECT_EQ(Group(routing, 1), (Ints{0, 4}));
  EXPECT_EQ(Group(routing, 2), (Ints{3}));
  EXPECT_EQ(Group(routing, 3), (Ints{1, 5}));
}

TEST(Routing, TiesGoToTheLowerId) {
  RoutingBuffer buffer(1, 3, 4);
  const std::vector<float> logits = {1.0f, 2.0f, 1.0f, 2.0f};
  const Routing routing = buffer.Route(AsMatrix(logits, 4), 3, {});
  EXPECT_EQ(Ids(routing, 0), (Ints{1, 3, 0}));
  EXPECT_EQ(routing.weights.At(0, 0), routing.weights.At(0, 1));
}

TEST(Routing, AllExpertsIsAPlainSoftmax) {
  RoutingBuffer buffer(1, 3, 3);
  const std::vector<float> logits = {std::log(2.0f), std::log(5.0f), std::log(3.0f)};
  const Routing routing = buffer.Route(AsMatrix(logits, 3), 3, {});
  EXPECT_EQ(Ids(routing, 0), (Ints{1, 2, 0}));
  EXPECT_NEAR(routing.weights.At(0, 0), 0.5f, 1e-6f);
  EXPECT_NEAR(routing.weights.At(0, 1), 0.3f, 1e-6f);
  EXPECT_NEAR(routing.weights.At(0, 2), 0.2f, 1e-6f);
}

TEST(Routing, LargeLogitsDoNotOverflow) {
  RoutingBuffer buffer(1, 2, 3);
  const std::vector<float> logits = {3e38f, -3e38f, 3e38f};
  const Routing routing = buffer.Route(AsMatrix(logits, 3), 2, {});
  EXPECT_EQ(Ids(routing, 0), (Ints{0, 2}));
  EXPECT_EQ(routing.weights.At(0, 0), 0.5f);
}

TEST(Routing, BrokenLogitsStillChooseDistinctExperts) {
  RoutingBuffer buffer(4, 2, 3);
  const std::vector<float> logits = {kNan,  kNan,  kNan,  //
                                     kNan,  -1.0f, kNan,  //
                                     -kInf, kInf,  kInf,  //
                                     -kInf, -kInf, -kInf};
  const Routing routing = buffer.Route(AsMatrix(logits, 3), 2, {});
  EXPECT_EQ(Ids(routing, 0), (Ints{0, 1}));
  EXPECT_EQ(Ids(routing, 1), (Ints{1, 0}));
  EXPECT_EQ(Ids(routing, 2), (Ints{1, 2}));
  EXPECT_EQ(Ids(routing, 3), (Ints{0, 1}));
  EXPECT_EQ(routing.weights.At(0, 0), 0.5f);
  EXPECT_EQ(routing.weights.At(1, 0), 1.0f);
  EXPECT_EQ(routing.weights.At(1, 1), 0.0f);
  EXPECT_EQ(routing.weights.At(2, 0), 0.5f);
  EXPECT_EQ(routing.weights.At(3, 1), 0.5f);
}

TEST(Routing, PoliciesPerRow) {
  const std::vector<float> row = {4.0f, 3.0f, 2.0f, 1.0f};
  std::vector<float> logits;
  for (int t = 0; t < 6; ++t) logits.insert(logits.end(), row.begin(), row.end());
  RoutingPolicy one, forced, banned, biased, three;
  one.k = 1;
  forced.force = {3};
  banned.ban = {0, 2};
  biased.bias = {0, 0, 10, 0};
  three.k = 3;
  const std::vector<const RoutingPolicy*> policies = {nullptr, &one,    &forced,
                                                      &banned, &biased, &three};
  RoutingBuffer buffer(6, 3, 4);
  const Routing routing = buffer.Route(AsMatrix(logits, 4), 2, policies);
  ASSERT_EQ(routing.expert_ids.cols, 3);
  EXPECT_EQ(Ids(routing, 0), (Ints{0, 1, -1}));
  EXPECT_EQ(Ids(routing, 1), (Ints{0, -1, -1}));
  EXPECT_EQ(Ids(routing, 2), (Ints{0, 3, -1}));
  EXPECT_EQ(Ids(routing, 3), (Ints{1, 3, -1}));
  EXPECT_EQ(Ids(routing, 4), (Ints{0, 2, -1}));
  EXPECT_EQ(Ids(routing, 5), (Ints{0, 1, 2}));
  EXPECT_EQ(routing.weights.At(1, 0), 1.0f);
  EXPECT_EQ(routing.weights.At(1, 1), 0.0f);
  // The bias moves the choice only: logits 4 and 2 weigh as they are.
  EXPECT_NEAR(routing.weights.At(4, 0), 1 / (1 + std::exp(-2.0f)), 1e-6f);
  EXPECT_NEAR(routing.weights.At(2, 0), 1 / (1 + std::exp(-3.0f)), 1e-6f);
  EXPECT_EQ(routing.slots.size(), 12u);  // 2 + 1 + 2 + 2 + 2 + 3: the empty slots are in no list
  EXPECT_EQ(Group(routing, 3), (Ints{7, 10}));
}

TEST(Routing, BannedExpertIsNotChosenEvenWhenAllElseIsNan) {
  RoutingPolicy policy;
  policy.ban = {0};
  const std::vector<const RoutingPolicy*> policies = {&policy};
  const std::vector<float> logits = {1.0f, kNan, kNan};
  RoutingBuffer buffer(1, 2, 3);
  EXPECT_EQ(Ids(buffer.Route(AsMatrix(logits, 3), 2, policies), 0), (Ints{1, 2}));
}

TEST(Routing, RowsWithOneKNarrowTheWholeBatch) {
  RoutingPolicy one;
  one.k = 1;
  const std::vector<const RoutingPolicy*> policies = {&one, &one};
  const std::vector<float> logits = {1, 2, 3, 3, 2, 1};
  RoutingBuffer buffer(2, 2, 3);
  const Routing routing = buffer.Route(AsMatrix(logits, 3), 2, policies);
  ASSERT_EQ(routing.expert_ids.cols, 1);
  EXPECT_EQ(Ids(routing, 0), (Ints{2}));
  EXPECT_EQ(Ids(routing, 1), (Ints{0}));
}

TEST(Routing, DenseIsOneExpertForAll) {
  for (const int n_experts : {0, 8}) {
    RoutingBuffer buffer(3, n_experts == 0 ? 0 : 2, n_experts);
    const Routing routing = buffer.RouteDense(3);
    ASSERT_EQ(routing.offsets.size(), 2u);
    EXPECT_EQ(Group(routing, 0), (Ints{0, 1, 2}));
    for (int64_t t = 0; t < 3; ++t) {
      EXPECT_EQ(routing.expert_ids.At(t, 0), 0);
      EXPECT_EQ(routing.weights.At(t, 0), 1.0f);
    }
  }
}

TEST(Routing, ResultOfARowDoesNotDependOnItsBatch) {
  const CounterRng rng(7);
  std::vector<float> logits(40 * 8);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = rng.Normal(i);
  RoutingBuffer all(40, 2, 8), single(1, 2, 8);
  const Routing together = all.Route(AsMatrix(logits, 8), 2, {});
  for (int64_t t = 0; t < 40; ++t) {
    const Routing alone = single.Route({logits.data() + t * 8, 1, 8, 8}, 2, {});
    EXPECT_EQ(Ids(alone, 0), Ids(together, t));
    for (int64_t i = 0; i < 2; ++i) EXPECT_EQ(alone.weights.At(0, i), together.weights.At(t, i));
  }
}

TEST(Routing, GroupsAreAPermutationOfAllSlotsOrderedByToken) {
  const CounterRng rng(3);
  constexpr int kTokens = 100, kExperts = 16, kChosen = 3;
  std::vector<float> logits(kTokens * kExperts);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = rng.Normal(i);
  RoutingBuffer buffer(kTokens, kChosen, kExperts);
  const Routing routing = buffer.Route(AsMatrix(logits, kExperts), kChosen, {});
  Ints sorted(routing.slots.begin(), routing.slots.end()), expected(kTokens * kChosen);
  std::sort(sorted.begin(), sorted.end());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(sorted, expected);
  for (size_t e = 0; e < kExperts; ++e) {
    const Ints slots = Group(routing, e);
    EXPECT_TRUE(std::is_sorted(slots.begin(), slots.end()));
    for (const int32_t slot : slots)
      EXPECT_EQ(routing.expert_ids.At(slot / kChosen, slot % kChosen), static_cast<int32_t>(e));
  }
}

// PAPER 4.1: for independent uniform choices the first choice repeats at 1/8 of the positions, and
// the pairs of neighbouring tokens share an expert with probability 1 - (6/8)(5/7) = 13/28.
TEST(Routing, RandomLogitsRepeatAtTheRandomRates) {
  constexpr int kTokens = 60000, kExperts = 8;
  const CounterRng rng(2024);
  std::vector<float> logits(static_cast<size_t>(kTokens) * kExperts);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(rng.Uniform(i));
  RoutingBuffer buffer(kTokens, 2, kExperts);
  const Routing routing = buffer.Route(AsMatrix(logits, kExperts), 2, {});
  int first_repeats = 0, any_repeats = 0;
  for (int64_t t = 1; t < kTokens; ++t) {
    const Ints now = Ids(routing, t), before = Ids(routing, t - 1);
    first_repeats += now[0] == before[0];
    any_repeats +=
        now[0] == before[0] || now[0] == before[1] || now[1] == before[0] || now[1] == before[1];
  }
  // Five standard deviations of the mean of 60000 draws: 0.0068 and 0.0102.
  EXPECT_NEAR(first_repeats / double{kTokens - 1}, 0.125, 0.0068);
  EXPECT_NEAR(any_repeats / double{kTokens - 1}, 13.0 / 28.0, 0.0102);
}

std::string Problem(const RoutingPolicy& policy, int n_experts = 8, int model_k = 2,
                    int max_k = 4) {
  try {
    policy.Validate(n_experts, model_k, max_k);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(RoutingPolicy, AcceptsWhatCanBeMet) {
  RoutingPolicy policy;
  EXPECT_EQ(Problem(policy), "");
  EXPECT_EQ(Problem(policy, 0, 0, 0), "");
  policy.k = 4;
  policy.force = {0, 7, 3, 2};
  policy.ban = {1, 4, 5, 6};
  policy.bias = std::vector<float>(8, -1.0f);
  EXPECT_EQ(Problem(policy), "");
}

TEST(RoutingPolicy, SaysWhatCannotBeMet) {
  RoutingPolicy policy;
  policy.k = 5;
  EXPECT_EQ(Problem(policy),
            "routing policy: k: expected 1..4 experts per token (0 = the model's), found 5");
  policy.k = -1;
  EXPECT_EQ(Problem(policy),
            "routing policy: k: expected 1..4 experts per token (0 = the model's), found -1");
  policy.k = 1;
  EXPECT_EQ(Problem(policy, 0, 0, 0),
            "routing policy: expected none for a model without experts, found one");
  policy = {};
  policy.force = {1, 8};
  EXPECT_EQ(Problem(policy), "routing policy: force[1]: expected an expert in 0..7, found 8");
  policy.force = {1, 2, 3};
  EXPECT_EQ(Problem(policy), "routing policy: force: expected at most 2 experts (k), found 3");
  policy.force = {1, 1};
  EXPECT_EQ(Problem(policy), "routing policy: force[1]: expected every expert once, found 1 again");
  policy.force = {1};
  policy.ban = {1};
  EXPECT_EQ(Problem(policy),
            "routing policy: ban: expected no forced expert, found 1 in both lists");
  policy.ban = {-1};
  EXPECT_EQ(Problem(policy), "routing policy: ban[0]: expected an expert in 0..7, found -1");
  policy = {};
  policy.ban = {0, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(Problem(policy),
            "routing policy: ban: expected at least 2 experts (k) left to choose from, found 1");
  policy = {};
  policy.bias = {1, 2};
  EXPECT_EQ(Problem(policy), "routing policy: bias: expected 8 values (one per expert), found 2");
  policy.bias = std::vector<float>(8, 0.0f);
  policy.bias[3] = kNan;
  EXPECT_EQ(Problem(policy), "routing policy: bias[3]: expected a finite number, found nan");
}

}  // namespace
}  // namespace mixtral
