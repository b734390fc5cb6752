// SPDX-License-Identifier: Apache-2.0
#include "eval/mt_bench.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mixtral::eval {
namespace {

std::vector<Json> Rows(std::initializer_list<const char*> texts) {
  std::vector<Json> rows;
  for (const char* text : texts) rows.push_back(Json::Parse(text, "rows"));
  return rows;
}

std::vector<Json> Questions() {
  return Rows({R"({"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]})",
               R"({"question_id": 111, "category": "math", "turns": ["Add.", "Halve."]})"});
}

std::vector<Json> References() {
  return Rows({R"({"question_id": 111, "choices": [{"turns": ["four", "two"]}]})"});
}

std::vector<Json> Prompts() {
  return Rows(
      {R"({"name": "single-v1", "system_prompt": "S", "prompt_template": "Q {question} A {answer}"})",
       R"({"name": "single-math-v1", "system_prompt": "S", "prompt_template": "Q {question} R {ref_answer_1} A {answer}"})",
       R"({"name": "single-v1-multi-turn", "system_prompt": "M", "prompt_template": "{question_1} {answer_1} {question_2} {answer_2}"})",
       R"({"name": "single-math-v1-multi-turn", "system_prompt": "M", "prompt_template": "{ref_answer_1} {ref_answer_2} {answer_1} {answer_2}"})"});
}

MtBench Bench() { return MtBench(Questions(), References(), Prompts()); }

TEST(MtBenchTest, TheSecondTurnSeesTheFirst) {
  const MtBench bench = Bench();
  const MtBenchQuestion& question = bench.questions()[0];
  const GenerationRequest first = MtBench::Ask(question, {});
  ASSERT_EQ(first.messages.size(), 1U);
  EXPECT_EQ(first.messages[0].content, "Write.");
  EXPECT_FLOAT_EQ(first.temperature, 0.7F);
  const GenerationRequest second = MtBench::Ask(question, std::vector<std::string>{"A text."});
  ASSERT_EQ(second.messages.size(), 3U);
  EXPECT_EQ(second.messages[1].role, "assistant");
  EXPECT_EQ(second.messages[1].content, "A text.");
  EXPECT_EQ(second.messages[2].content, "Again.");
}

TEST(MtBenchTest, TemperaturesAreTheCategories) {
  EXPECT_FLOAT_EQ(MtBenchTemperature("roleplay"), 0.7F);
  EXPECT_FLOAT_EQ(MtBenchTemperature("stem"), 0.1F);
  EXPECT_FLOAT_EQ(MtBenchTemperature("humanities"), 0.1F);
  for (const char* name : {"extraction", "math", "coding", "reasoning"})
    EXPECT_FLOAT_EQ(MtBenchTemperature(name), 0) << name;
}

TEST(MtBenchTest, TheJudgeIsAskedWithThePromptOfTheTurnAndCategory) {
  const MtBench bench = Bench();
  const MtBenchQuestion &writing = bench.questions()[0], &math = bench.questions()[1];
  const auto judge = [&](const MtBenchQuestion& question, std::vector<std::string> answers) {
    const GenerationRequest request = bench.Judge(question, answers);
    EXPECT_EQ(request.temperature, 0);
    return request.messages.at(0).content + "|" + request.messages.at(1).content;
  };
  EXPECT_EQ(judge(writing, {"one"}), "S|Q Write. A one");
  EXPECT_EQ(judge(writing, {"one", "two"}), "M|Write. one Again. two");
  EXPECT_EQ(judge(math, {"4"}), "S|Q Add. R four A 4");
  EXPECT_EQ(judge(math, {"4", "2"}), "M|four two 4 2");
  // An answer that looks like a place stays an answer.
  EXPECT_EQ(judge(writing, {"{answer_2}", "x"}), "M|Write. {answer_2} Again. x");
}

TEST(MtBenchTest, RatingsAreReadAndNotGuessed) {
  EXPECT_EQ(ParseRating("Good. Rating: [[7]]"), 7);
  EXPECT_EQ(ParseRating("Rating: [[7.5]] or [[3]]"), 7.5);
  EXPECT_EQ(ParseRating("see [[rating]] above: [[8]]"), 8);
  EXPECT_EQ(ParseRating("Rating: [6]"), 6);
  for (const char* text :
       {"", "Rating: 7", "[[rating]]", "[[11]]", "[[0]]", "[[-3]]", "[[7", "[[]]", "[[inf]]"})
    EXPECT_EQ(ParseRating(text), std::nullopt) << text;
}

TEST(MtBenchTest, ScoresAreMeansOfRatingsAndCountWhatHasNone) {
  MtBenchScores scores;
  scores.Add("math", 0, 4);
  scores.Add("math", 1, 8);
  scores.Add("writing", 0, 9);
  scores.Add("writing", 1, std::nullopt);
  scores.Add("stem", 0, std::nullopt);
  const Json json = scores.ToJson();
  EXPECT_DOUBLE_EQ(json.At("score").AsDouble(), 7);
  EXPECT_DOUBLE_EQ(json.At("turn_1").AsDouble(), 6.5);
  EXPECT_DOUBLE_EQ(json.At("turn_2").AsDouble(), 8);
  EXPECT_EQ(json.At("n").AsInt(), 3);
  EXPECT_EQ(json.At("n_unparsed").AsInt(), 2);
  EXPECT_DOUBLE_EQ(json.At("categories").At("math").AsDouble(), 6);
  EXPECT_TRUE(json.At("categories").At("stem").IsNull());
}

TEST(MtBenchTest, RefusesWhatIsMissing) {
  EXPECT_THROW(MtBench(Questions(), {}, Prompts()), Error);
  std::vector<Json> prompts = Prompts();
  prompts.pop_back();
  EXPECT_THROW(MtBench(Questions(), References(), prompts), Error);
  EXPECT_THROW(
      MtBench(Rows({R"({"question_id": 1, "category": "stem", "turns": ["one"]})"}), {}, Prompts()),
      Error);
}

}  // namespace
}  // namespace mixtral::eval
