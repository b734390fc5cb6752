// SPDX-License-Identifier: Apache-2.0
// Prompts of both forms, their lengths in "tokens" of one word, and scores by hand.
#include "eval/passkey.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace mixtral::eval {
namespace {

int64_t Words(const std::string& text) {
  return 1 + std::count_if(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\n'; });
}

PasskeyGrid Grid(PasskeyForm form) {
  PasskeyGrid grid = MakePasskeyGrid(form, 400, 2, 3);
  grid.n_keys = 2;
  return grid;
}

TEST(PasskeyTest, TheGridGoesToTheEnd) {
  const PasskeyGrid grid = MakePasskeyGrid(PasskeyForm::kPlain, 32768, 4, 5);
  EXPECT_EQ(grid.lengths, (std::vector<int64_t>{8192, 16384, 24576, 32768}));
  EXPECT_EQ(grid.positions, (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(MakePasskeyGrid(PasskeyForm::kPlain, 100, 1, 1).positions, std::vector<double>{0.5});
  EXPECT_THROW(MakePasskeyGrid(PasskeyForm::kPlain, 100, 0, 5), Error);
}

TEST(PasskeyTest, PlainPromptsAreThePublishedOnes) {
  const auto prompts = MakePasskeyPrompts(Grid(PasskeyForm::kPlain), Words);
  ASSERT_EQ(prompts.size(), 12U);
  const PasskeyPrompt& first = prompts[0];  // position 0
  const std::string& text = first.request.prompt;
  EXPECT_TRUE(
      text.starts_with("There is an important info hidden inside a lot of irrelevant text. Find "
                       "it and memorize them. I will quiz you about the important information "
                       "there.\n\nThe pass key is " +
                       std::to_string(first.key) + ". Remember it. " + std::to_string(first.key) +
                       " is the pass key.\nThe grass is green. The sky is blue. The sun is yellow. "
                       "Here we go. There and back again. The grass"))
      << text;
  EXPECT_TRUE(text.ends_with("\nWhat is the pass key? The pass key is"));
  EXPECT_TRUE(first.request.messages.empty());
  const std::string& last = prompts.back().request.prompt;  // position 1
  EXPECT_TRUE(last.ends_with(" is the pass key.\n\nWhat is the pass key? The pass key is")) << last;
}

TEST(PasskeyTest, ChatPromptsAreTheRecipes) {
  const auto prompts = MakePasskeyPrompts(Grid(PasskeyForm::kChat), Words);
  ASSERT_EQ(prompts[0].request.messages.size(), 1U);
  EXPECT_EQ(prompts[0].request.messages[0].role, "user");
  const std::string& text = prompts[0].request.messages[0].content;
  const std::string key = std::to_string(prompts[0].key);
  EXPECT_EQ(key.size(), 5U);
  EXPECT_TRUE(text.starts_with("The pass key is " + key + ". Remember it. The grass is green."))
      << text;
  EXPECT_TRUE(text.ends_with(" What is the pass key?"));
  EXPECT_NE(prompts[2].request.messages[0].content.find(". The pass key is "), std::string::npos);
}

TEST(PasskeyTest, PromptsFillTheirLengthAndNoMore) {
  for (const PasskeyForm form : {PasskeyForm::kPlain, PasskeyForm::kChat})
    for (const PasskeyPrompt& prompt : MakePasskeyPrompts(Grid(form), Words)) {
      const int64_t length = prompt.length_idx == 0 ? 200 : 400;
      const bool is_chat = form == PasskeyForm::kChat;
      const int64_t n =
          1 + Words(is_chat ? prompt.request.messages[0].content : prompt.request.prompt) +
          prompt.request.max_tokens + (is_chat ? 24 : 0);
      EXPECT_LE(n, length);
      EXPECT_GE(n, length - 8);  // a sentence, and what is spared
    }
}

TEST(PasskeyTest, TheNumberStandsWhereItShould) {
  const auto prompts = MakePasskeyPrompts(Grid(PasskeyForm::kPlain), Words);
  const auto share = [&](const PasskeyPrompt& prompt) {
    const std::string& text = prompt.request.prompt;
    const size_t begin = text.find("there.\n") + 7, end = text.rfind("\nWhat");
    const std::string sentence = "The pass key is " + std::to_string(prompt.key) + ". ";
    return static_cast<double>(text.find(sentence) - begin) / static_cast<double>(end - begin);
  };
  EXPECT_NEAR(share(prompts[0]), 0, 0.01);
  EXPECT_NEAR(share(prompts[2]), 0.5, 0.1);
  EXPECT_GT(share(prompts[4]), 0.9);
}

TEST(PasskeyTest, SeedsDecideTheNumbers) {
  PasskeyGrid grid = Grid(PasskeyForm::kPlain);
  const auto first = MakePasskeyPrompts(grid, Words), again = MakePasskeyPrompts(grid, Words);
  std::set<int64_t> keys;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].request.prompt, again[i].request.prompt);
    EXPECT_GE(first[i].key, 1);
    EXPECT_LE(first[i].key, 50000);
    keys.insert(first[i].key);
  }
  EXPECT_GT(keys.size(), 8U);
  grid.seed = 2;
  EXPECT_NE(MakePasskeyPrompts(grid, Words)[0].key, first[0].key);
}

TEST(PasskeyTest, TooShortALengthIsNamed) {
  PasskeyGrid grid = Grid(PasskeyForm::kPlain);
  grid.lengths = {20};
  EXPECT_THROW(MakePasskeyPrompts(grid, Words), Error);
}

TEST(PasskeyTest, TheFirstNumberCounts) {
  EXPECT_TRUE(IsPasskey(" 12345.", 12345));
  EXPECT_TRUE(IsPasskey("The pass key is 7. Remember 9", 7));
  EXPECT_FALSE(IsPasskey("123456", 12345));
  EXPECT_FALSE(IsPasskey("9 and 12345", 12345));
  EXPECT_FALSE(IsPasskey("", 12345));
  EXPECT_FALSE(IsPasskey("99999999999999999999999", 12345));
}

TEST(PasskeyTest, CellsAreShares) {
  const PasskeyGrid grid = Grid(PasskeyForm::kPlain);
  PasskeyScores scores(grid);
  const PasskeyPrompt at = {.length_idx = 1, .position_idx = 2, .key = 5, .request = {}};
  scores.Add(at, " 5");
  scores.Add(at, " 6");
  scores.Add({.length_idx = 0, .position_idx = 0, .key = 8, .request = {}}, " 8");
  const Json json = scores.ToJson();
  EXPECT_DOUBLE_EQ(json.At("accuracy").At(2).At(1).AsDouble(), 0.5);
  EXPECT_DOUBLE_EQ(json.At("accuracy").At(size_t{0}).At(size_t{0}).AsDouble(), 1);
  EXPECT_TRUE(json.At("accuracy").At(1).At(1).IsNull());
  EXPECT_DOUBLE_EQ(json.At("acc").AsDouble(), 2.0 / 3);
  EXPECT_EQ(json.At("lengths").AsIntArray(), (std::vector<int64_t>{200, 400}));
}

TEST(PasskeyTest, FormsHaveNames) {
  EXPECT_EQ(ParsePasskeyForm("plain"), PasskeyForm::kPlain);
  EXPECT_EQ(ParsePasskeyForm("chat"), PasskeyForm::kChat);
  EXPECT_THROW(ParsePasskeyForm("Chat"), Error);
}

}  // namespace
}  // namespace mixtral::eval
