// SPDX-License-Identifier: Apache-2.0
// What a batch may ask for: rows in any order, none at all, other routing, a second try after a
// failed read. Compared bitwise with the plain way to the same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

class BatchRequests : public ::testing::Test {
 protected:
  BatchRequests() {
    config_ = TinyConfig();
    model_ = MakeTinyModel(config_, 31);
    WriteGguf(model_, path_);
    tokens_ = RandomTokens(30, config_.vocab_size, 4);
  }

  TempDir dir_;
  std::string path_ = dir_ / "m.gguf";
  ModelConfig config_;
  TinyModel model_;
  std::vector<int32_t> tokens_;
};

TEST_F(BatchRequests, RowsInAnyOrderAndTwice) {
  Harness harness(path_);
  std::vector<float> all_hidden;
  Trace trace;
  const std::vector<float> all = harness.RunTraced(tokens_, &trace, &all_hidden);
  const std::vector<int32_t> rows = {29, 3, 3, 0, 17}, hidden_rows = {5, 29};
  const auto vocab_size = static_cast<size_t>(config_.vocab_size);
  const auto dim = static_cast<size_t>(config_.dim);
  std::vector<float> logits(rows.size() * vocab_size), hidden(hidden_rows.size() * dim);
  const SeqId seq = harness.kv().Open().value();
  ASSERT_TRUE(harness.kv().Reserve(seq, 30));
  const std::vector<SeqRange> ranges = {{seq, 0, 30, 0}};
  harness.transformer().Forward(
      {.tokens = tokens_, .ranges = ranges, .logit_rows = rows, .hidden_rows = hidden_rows},
      harness.kv(),
      {.logits = {logits.data(), 5, config_.vocab_size, config_.vocab_size},
       .hidden = {hidden.data(), 2, config_.dim, config_.dim}});
  for (size_t i = 0; i < rows.size(); ++i)
    EXPECT_TRUE(
        SameBits(std::span(all).subspan(static_cast<size_t>(rows[i]) * vocab_size, vocab_size),
                 std::span(logits).subspan(i * vocab_size, vocab_size)))
        << "row " << rows[i];
  for (size_t i = 0; i < hidden_rows.size(); ++i)
    EXPECT_TRUE(
        SameBits(std::span(all_hidden).subspan(static_cast<size_t>(hidden_rows[i]) * dim, dim),
                 std::span(hidden).subspan(i * dim, dim)));
}

TEST_F(BatchRequests, NoRowsAtAllStillFillTheCache) {
  Harness harness(path_);
  const std::vector<float> want = harness.Run(tokens_);
  const SeqId seq = harness.kv().Open().value();
  ASSERT_TRUE(harness.kv().Reserve(seq, 29));
  const std::vector<SeqRange> ranges = {{seq, 0, 29, 0}};
  harness.transformer().Forward(
      {.tokens = std::span(tokens_).first(29), .ranges = ranges, .logit_rows = {}}, harness.kv(),
      {});
  EXPECT_EQ(harness.kv().Length(seq), 29);
  EXPECT_TRUE(SameBits(std::span(want).last(static_cast<size_t>(config_.vocab_size)),
                       harness.Step(seq, std::span(tokens_).last(1))));
}

TEST_F(BatchRequests, APolicysKIsTheModelsK) {
  for (const int k : {1, 3, 4}) {
    ModelConfig other = config_;
    other.experts_per_token = k;
    TinyModel same_weights = model_;
    same_weights.config = other;
    WriteGguf(same_weights, dir_ / "k.gguf");
    Harness plain(dir_ / "k.gguf"), overridden(path_, {.max_k = 4});
    RoutingPolicy policy;
    policy.k = k;
    EXPECT_TRUE(SameBits(plain.Run(tokens_), overridden.Run(tokens_, {}, &policy))) << "k " << k;
  }
}

TEST_F(BatchRequests, BannedExpertsAreNeverChosenForcedOnesAlways) {
  Harness harness(path_);
  RoutingPolicy policy;
  policy.ban = {0};
  policy.force = {2};
  class Watcher final : public ForwardObserver {
   public:
    void OnRouting(int, const Batch&, const Routing& routing, Matrix<const float>) override {
      for (int64_t t = 0; t < routing.expert_ids.rows; ++t) {
        const int32_t* ids = routing.expert_ids.Row(t);
        n_banned += std::count(ids, ids + routing.expert_ids.cols, 0);
        n_forced += std::count(ids, ids + routing.expert_ids.cols, 2);
      }
    }
    int64_t n_banned = 0, n_forced = 0;
  } watcher;
  const SeqId seq = harness.kv().Open().value();
  const Piece piece{seq, tokens_, &policy};
  harness.Step({&piece, 1}, nullptr, &watcher);
  EXPECT_EQ(watcher.n_banned, 0);
  EXPECT_EQ(watcher.n_forced, 30 * config_.n_layers);
}

TEST_F(BatchRequests, AFailedReadCommitsNothingAndCanBeTriedAgain) {
  const std::vector<float> want = Harness(path_).Run(tokens_);
  Harness harness(path_, {.store = StoreKind::kFailsOnce});
  const SeqId seq = harness.kv().Open().value();
  EXPECT_THROW(harness.Step(seq, tokens_), Error);
  EXPECT_EQ(harness.kv().Length(seq), 0);
  EXPECT_TRUE(SameBits(want, harness.Step(seq, tokens_)));
}

}  // namespace
}  // namespace mixtral::testing
