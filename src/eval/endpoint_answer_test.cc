// SPDX-License-Identifier: Apache-2.0
// Answers of servers that count offsets differently, and answers that are wrong.
#include "eval/endpoint_answer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace mixtral::eval {
namespace {

Json Answer(const std::string& logprobs) {
  return Json::Parse(R"({"choices": [{"text": "", "logprobs": )" + logprobs + "}]}", "test");
}

std::string Refusal(const std::string& logprobs) {
  try {
    LikelihoodAfter(ParseEcho(Answer(logprobs), "A cat"), "A");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

void ExpectCat(const std::string& logprobs) {
  const EchoedPrompt echo = ParseEcho(Answer(logprobs), "A cat sat");
  const Likelihood cat = LikelihoodAfter(echo, "A");
  EXPECT_EQ(cat.n_tokens, 2);
  EXPECT_FLOAT_EQ(static_cast<float>(cat.logprob), -1.5f);
  EXPECT_FALSE(cat.is_greedy);
  const Likelihood sat = LikelihoodAfter(echo, "A cat");
  EXPECT_EQ(sat.n_tokens, 1);
  EXPECT_EQ(sat.logprob, -0.5);
  EXPECT_TRUE(sat.is_greedy);
}

TEST(EndpointAnswer, OffsetsFromTheTextsBeginning) {
  ExpectCat(R"({"tokens": ["A", " cat", " sat"], "token_logprobs": [null, -1, -0.5],
                "top_logprobs": [null, {" dog": -0.7}, {" sat": -0.5}], "text_offset": [0, 1, 5]})");
}

TEST(EndpointAnswer, OffsetsFromBosAndTheSpaceBeforeAText) {
  ExpectCat(
      R"({"tokens": ["<s>", " A", " cat", " sat"], "token_logprobs": [null, -3, -1, -0.5],
          "top_logprobs": [null, {"x": -1}, {" dog": -0.7}, {" sat": -0.5}],
          "text_offset": [0, 3, 5, 9]})");
  ExpectCat(
      R"({"tokens": ["<s>", " ", "A", " cat", " sat"], "token_logprobs": [null, -1, -3, -1, -0.5],
          "top_logprobs": [null, {}, {}, {" dog": -0.7}, {" sat": -0.5}],
          "text_offset": [0, 3, 4, 5, 9]})");
}

TEST(EndpointAnswer, WithoutAContextEveryTokenCountsThatHasAScore) {
  const EchoedPrompt echo =
      ParseEcho(Answer(R"({"tokens": ["<s>", " A", " cat"], "token_logprobs": [null, -3, -1],
                           "text_offset": [0, 3, 5]})"),
                "A cat");
  EXPECT_EQ(LikelihoodAfter(echo, "").n_tokens, 2);
  EXPECT_EQ(LikelihoodAfter(echo, "").logprob, -4);
  EXPECT_FALSE(LikelihoodAfter(echo, "").is_greedy);  // nobody said what was likelier
}

TEST(EndpointAnswer, WhatIsNoAnswerIsOneClearError) {
  EXPECT_NE(Refusal("null").find("found none: tasks that score texts"), std::string::npos);
  EXPECT_NE(Refusal("{}").find("found none"), std::string::npos);
  EXPECT_NE(
      Refusal(R"({"tokens": [], "token_logprobs": [], "text_offset": []})").find("found none"),
      std::string::npos);
  EXPECT_NE(Refusal(R"({"tokens": ["A"], "token_logprobs": [-1, -1], "text_offset": [0]})")
                .find("lists of one length"),
            std::string::npos);
  EXPECT_NE(Refusal(R"({"tokens": ["A", " cat"], "token_logprobs": [null, 7],
                        "text_offset": [0, 1]})")
                .find("expected at most 0, found 7"),
            std::string::npos);
  EXPECT_NE(Refusal(R"({"tokens": ["A", " cat"], "token_logprobs": [null, "x"],
                        "text_offset": [0, 1]})")
                .find("expected a number"),
            std::string::npos);
  EXPECT_NE(Refusal(R"({"tokens": ["A cat"], "token_logprobs": [null], "text_offset": [0]})")
                .find("expected tokens of the continuation"),
            std::string::npos);
}

TEST(EndpointAnswer, TextsByIndex) {
  const Json answer =
      Json::Parse(R"({"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]})", "test");
  EXPECT_EQ(ParseTexts(answer, 2).texts, (std::vector<std::string>{"a", "b"}));
  EXPECT_THROW(ParseTexts(answer, 1), Error);
  const Json chat =
      Json::Parse(R"({"choices": [{"index": 0, "message": {"content": "hi"}}]})", "test");
  EXPECT_EQ(ParseTexts(chat, 1).texts.at(0), "hi");
  const Json silent =
      Json::Parse(R"({"choices": [{"index": 0, "message": {"content": null}}]})", "test");
  EXPECT_EQ(ParseTexts(silent, 1).texts.at(0), "");
  EXPECT_THROW(ParseTexts(Json::Parse(R"({"choices": [{"index": 5, "text": ""}]})", "t"), 1),
               Error);
}

TEST(EndpointAnswer, RefusalsAreOneLine) {
  EXPECT_EQ(RefusalOf(404, R"({"error": {"message": "no such model"}})"),
            "status 404: no such model");
  EXPECT_EQ(RefusalOf(400, R"({"error": "no"})"), "status 400: no");
  EXPECT_EQ(RefusalOf(502, "<html>\n"), "status 502: <html>\\x0A");
}

}  // namespace
}  // namespace mixtral::eval
