// SPDX-License-Identifier: Apache-2.0
// What goes into a step and where its results lie, with a forward pass that writes down what it
// got, and one that fails for some sequences.
#include "engine/step_runner.h"

#include <gtest/gtest.h>

#include <set>

#include "model/fake_backend.h"

namespace mixtral {
namespace {

// Logits of a row: its token, then its position; hidden: the same, negative.
class StepRunnerTest : public ::testing::Test {
 protected:
  void Forward(const Batch& batch, KvCache&, const ForwardOutput& output, ForwardObserver*) {
    ++n_calls;
    std::vector<float> tokens, positions;
    for (size_t i = 0; i < batch.ranges.size(); ++i) {
      const SeqRange& range = batch.ranges[i];
      if (bad.count(range.seq) > 0) Throw(ErrorCode::kIo, "expert of sequence {}", range.seq);
      EXPECT_EQ(batch.policies[i], &policies_[static_cast<size_t>(range.seq)]);
      for (int row = 0; row < range.n_rows; ++row) {
        tokens.push_back(
            static_cast<float>(batch.tokens[static_cast<size_t>(range.first_row + row)]));
        positions.push_back(static_cast<float>(range.start + row));
      }
    }
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      const auto row = static_cast<size_t>(batch.logit_rows[i]);
      output.logits.At(static_cast<int64_t>(i), 0) = tokens[row];
      output.logits.At(static_cast<int64_t>(i), 1) = positions[row];
    }
    for (size_t i = 0; i < batch.hidden_rows.size(); ++i) {
      const auto row = static_cast<size_t>(batch.hidden_rows[i]);
      output.hidden.At(static_cast<int64_t>(i), 0) = -tokens[row];
    }
  }
  StepRunner Runner() {
    return {[this](const Batch& batch, KvCache& kv, const ForwardOutput& output,
                   ForwardObserver* observer) { Forward(batch, kv, output, observer); },
            &kv_,
            {.max_rows = 16, .max_output_rows = 8, .vocab_size = 2, .dim = 1}};
  }
  void AddThree(StepRunner& runner) {
    runner.Clear();
    EXPECT_EQ(runner.Add({.seq = 0,
                          .start = 5,
                          .tokens = first_,
                          .n_logit_rows = 2,
                          .n_hidden_rows = 1,
                          .policy = policies_.data()}),
              0u);
    EXPECT_EQ(runner.Add({.seq = 2, .start = 0, .tokens = second_, .policy = &policies_[2]}), 1u);
    EXPECT_EQ(runner.Add({.seq = 1,
                          .start = 9,
                          .tokens = third_,
                          .n_logit_rows = 1,
                          .n_hidden_rows = 2,
                          .policy = &policies_[1]}),
              2u);
  }
  static ModelConfig Config() {
    ModelConfig config;
    config.n_layers = config.n_kv_heads = 1;
    config.head_dim = 4;
    config.max_context = 64;
    return config;
  }

  std::set<SeqId> bad;
  int n_calls = 0;
  testing::FakeBackend backend_;
  KvCache kv_{Config(), {.n_positions = 64}, &backend_};
  std::vector<RoutingPolicy> policies_{3};
  std::vector<TokenId> first_ = {10, 11, 12}, second_ = {20}, third_ = {30, 31};
};

TEST_F(StepRunnerTest, EveryPartFindsItsRows) {
  StepRunner runner = Runner();
  for (int i = 0; i < 2; ++i) {
    AddThree(runner);
    runner.Run(nullptr);
    EXPECT_EQ(runner.Logits(0, 0)[0], 11);
    EXPECT_EQ(runner.Logits(0, 1)[0], 12);
    EXPECT_EQ(runner.Logits(0, 1)[1], 7);
    EXPECT_EQ(runner.Logits(2, 0)[0], 31);
    EXPECT_EQ(runner.Hidden(0, 0)[0], -12);
    EXPECT_EQ(runner.Hidden(2, 0)[0], -30);
    EXPECT_EQ(runner.Hidden(2, 1)[0], -31);
    EXPECT_FALSE(runner.ErrorOf(1).has_value());
  }
  EXPECT_EQ(n_calls, 2);
}

TEST_F(StepRunnerTest, AFailureReachesOnlyThoseThatCauseIt) {
  StepRunner runner = Runner();
  bad = {2};
  AddThree(runner);
  runner.Run(nullptr);
  EXPECT_EQ(n_calls, 4);
  ASSERT_TRUE(runner.ErrorOf(1).has_value());
  EXPECT_EQ(runner.ErrorOf(1)->code(), ErrorCode::kIo);
  EXPECT_FALSE(runner.ErrorOf(0).has_value());
  EXPECT_FALSE(runner.ErrorOf(2).has_value());
  EXPECT_EQ(runner.Logits(0, 0)[0], 11);
  EXPECT_EQ(runner.Logits(0, 1)[0], 12);
  EXPECT_EQ(runner.Logits(2, 0)[0], 31);
  EXPECT_EQ(runner.Hidden(0, 0)[0], -12);
  EXPECT_EQ(runner.Hidden(2, 1)[0], -31);
  bad = {};
  AddThree(runner);
  runner.Run(nullptr);
  EXPECT_FALSE(runner.ErrorOf(1).has_value());
}

TEST_F(StepRunnerTest, NothingToDoIsDoneAtOnce) {
  StepRunner runner = Runner();
  runner.Clear();
  runner.Run(nullptr);
  EXPECT_EQ(n_calls, 0);
}

}  // namespace
}  // namespace mixtral
