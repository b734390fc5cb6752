// SPDX-License-Identifier: Apache-2.0
// Windows of a few tokens by hand, as the programs that define them cut.
#include "eval/text_windows.h"

#include <gtest/gtest.h>

namespace mixtral::eval {
namespace {

using Ids = std::vector<TokenId>;

Ids Count(TokenId n) {  // BOS is 0
  Ids ids;
  for (TokenId id = 0; id <= n; ++id) ids.push_back(id);
  return ids;
}

void ExpectWindows(const std::vector<TokenWindow>& windows,
                   const std::vector<std::pair<Ids, size_t>>& expected) {
  ASSERT_EQ(windows.size(), expected.size());
  for (size_t i = 0; i < windows.size(); ++i) {
    EXPECT_EQ(windows[i].tokens, expected[i].first) << i;
    EXPECT_EQ(windows[i].n_scored, expected[i].second) << i;
  }
}

// get_rolling_token_windows([1..10], prefix 0, max_seq_len 4, context_len 1) of
// lm-evaluation-harness: inputs and targets are ([0 1 2 3], [1 2 3 4]), ([4 5 6 7], [5 6 7 8]),
// ([6 7 8 9], [9 10] of the last).
TEST(TextWindows, RollingAsLmEvaluationHarness) {
  ExpectWindows(CutWindows(Count(10), {.context = 4}),
                {{{0, 1, 2, 3, 4}, 4}, {{4, 5, 6, 7, 8}, 4}, {{6, 7, 8, 9, 10}, 2}});
  ExpectWindows(CutWindows(Count(3), {.context = 4}), {{{0, 1, 2, 3}, 3}});
  ExpectWindows(CutWindows(Count(0), {.context = 4}), {});
}

TEST(TextWindows, AStrideGivesEveryTokenMoreContext) {
  ExpectWindows(
      CutWindows(Count(9), {.context = 4, .stride = 2}),
      {{{0, 1, 2, 3, 4}, 4}, {{2, 3, 4, 5, 6}, 2}, {{4, 5, 6, 7, 8}, 2}, {{5, 6, 7, 8, 9}, 1}});
}

// llama.cpp scores rows n_ctx / 2 to n_ctx - 2 of a chunk, which predict the tokens after them.
TEST(TextWindows, ChunksAsLlamaCpp) {
  ExpectWindows(CutLlamaCppChunks(Count(17), 8, 0),
                {{{0, 1, 2, 3, 4, 5, 6, 7}, 3}, {{0, 9, 10, 11, 12, 13, 14, 15}, 3}});
  ExpectWindows(CutLlamaCppChunks(Count(6), 7, 99), {{{99, 1, 2, 3, 4, 5, 6}, 3}});
  ExpectWindows(CutLlamaCppChunks(Count(5), 8, 0), {});
}

TEST(TextWindows, SpaceGoesToTheContinuation) {
  const auto expect = [](std::string_view context, std::string_view continuation,
                         const std::string& a, const std::string& b) {
    const SplitText split = SplitBeforeSpaces(context, continuation);
    EXPECT_EQ(split.context, a);
    EXPECT_EQ(split.continuation, b);
  };
  expect("A: ", "yes", "A:", " yes");
  expect("A:", " yes", "A:", " yes");
  expect("A \n\t\xC2\xA0\xE3\x80\x80", "b", "A",
         " \n\t\xC2\xA0\xE3\x80\x80"
         "b");
  expect("  ", "b", "", "  b");
  expect("", "b", "", "b");
}

}  // namespace
}  // namespace mixtral::eval
