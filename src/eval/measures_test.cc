// SPDX-License-Identifier: Apache-2.0
// Each measurement with a model whose answers are known.
#include "eval/measures.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "base/error.h"
#include "eval/test_models.h"
#include "eval/test_sandbox.h"

namespace mixtral::eval {
namespace {

void Ignore(size_t /*index*/, const Json& /*sample*/) {}

TEST(MeasureBbqTest, TheLikeliestChoiceIsTheAnswer) {
  const std::vector<Json> rows = {
      Json::Parse(R"({"category": "Age", "question_polarity": "neg", "context_condition": "ambig",
        "context": "C1", "question": "Who?", "ans0": "Ann", "ans1": "Unknown", "ans2": "Bea", "label": 1,
        "answer_info": {"ans0": ["Ann", "old"], "ans1": ["x", "unknown"], "ans2": ["Bea", "nonOld"]},
        "additional_metadata": {"stereotyped_groups": ["old"]}})",
                  "row"),
      Json::Parse(
          R"({"category": "Age", "question_polarity": "neg", "context_condition": "disambig",
        "context": "C2", "question": "Who?", "ans0": "Ann", "ans1": "Unknown", "ans2": "Bea", "label": 2,
        "answer_info": {"ans0": ["Ann", "old"], "ans1": ["x", "unknown"], "ans2": ["Bea", "nonOld"]},
        "additional_metadata": {"stereotyped_groups": ["old"]}})",
          "row")};
  ScriptedModel model;
  model.logprob = [](const ContinuationRequest& request) {
    const bool is_first = request.context == "C1\n\nQ: Who?\nA:";
    return request.continuation == (is_first ? " Undetermined" : " Ann") ? -1.0 : -2.0;
  };
  std::map<size_t, std::string> answers;
  const Json json = MeasureBbq(model, rows, [&](size_t i, const Json& sample) {
    answers[i] = sample.At("answer").AsString();
  });
  EXPECT_EQ(answers, (std::map<size_t, std::string>{{0, "Undetermined"}, {1, "Ann"}}));
  EXPECT_DOUBLE_EQ(json.At("all").At("acc_ambiguous").AsDouble(), 1);
  EXPECT_DOUBLE_EQ(json.At("all").At("acc_disambiguated").AsDouble(), 0);
  EXPECT_DOUBLE_EQ(json.At("all").At("bias_disambiguated").AsDouble(), 1);
}

TEST(MeasureBoldTest, ScoresPromptAndContinuationAsOneText) {
  const std::vector<Json> rows = {
      Json::Parse(
          R"({"domain": "race", "group": "A", "prompt": "A good ", "wikipedia": "A bad day."})",
          "row"),
      Json::Parse(R"({"domain": "race", "group": "B", "prompt": "B is "})", "row")};
  ScriptedModel model;
  model.answer = [](const GenerationRequest& request, int) {
    return request.prompt == "A good" ? " day." : " bad.";
  };
  const Vader vader("good\t1.9\nbad\t-2.5\n", "test");
  const Json json = MeasureBold(model, rows, vader, Ignore);
  const Json groups = json.At("race").At("groups");
  EXPECT_DOUBLE_EQ(groups.At("A").At("mean").AsDouble(), 0.4404);
  EXPECT_DOUBLE_EQ(groups.At("A").At("reference_mean").AsDouble(), -0.5423);
  EXPECT_DOUBLE_EQ(groups.At("B").At("mean").AsDouble(), -0.5423);
  EXPECT_FALSE(groups.At("B").Find("reference_mean"));
}

TEST(MeasureCodeTest, RefusesCountsThatGiveNoEstimate) {
  std::string why_not;
  const std::optional<Sandbox> sandbox = PatientSandbox(&why_not);
  if (!sandbox) GTEST_SKIP() << why_not;
  ScriptedModel model;
  for (const CodeMeasure& measure : {CodeMeasure{.n_answers = 1, .k = {1, 10}, .temperature = 0},
                                     CodeMeasure{.n_answers = 4, .k = {1}, .temperature = 0},
                                     CodeMeasure{.n_answers = 4, .k = {0}, .temperature = 0.8F}})
    EXPECT_THROW(MeasureCode(model, {}, measure, *sandbox, Ignore), Error);
}

TEST(MeasureCodeTest, CountsWhatPasses) {
  std::string why_not;
  const std::optional<Sandbox> sandbox = PatientSandbox(&why_not);
  if (!sandbox) GTEST_SKIP() << why_not;
  std::vector<CodeProblem> problems(2);
  problems[0] = {.id = "a",
                 .prompt = "P0",
                 .before = "",
                 .after = "\nassert x == 1\n",
                 .stop = {},
                 .max_tokens = 9};
  problems[1] = {.id = "b",
                 .prompt = "P1",
                 .before = "",
                 .after = "\nassert x == 1\n",
                 .stop = {},
                 .max_tokens = 9};
  ScriptedModel model;
  // Of the first problem two of four answers pass, of the second none.
  model.answer = [](const GenerationRequest& request, int n) {
    return request.prompt == "P0" && n < 2 ? "x = 1" : "x = 2";
  };
  const Json json = MeasureCode(model, problems, {.n_answers = 4, .k = {1, 2}, .temperature = 0.8F},
                                *sandbox, Ignore);
  EXPECT_DOUBLE_EQ(json.At("pass@1").At("value").AsDouble(), 0.25);
  EXPECT_NEAR(json.At("pass@2").At("value").AsDouble(), (1 - 1.0 / 6) / 2, 1e-12);
  EXPECT_NEAR(json.At("pass@1").At("stderr").AsDouble(), 0.25, 1e-12);  // of 0.5 and 0
  EXPECT_EQ(json.At("n").AsInt(), 2);
}

TEST(MeasurePasskeyTest, AModelThatReadsFindsEveryKey) {
  ScriptedModel model;
  model.answer = [](const GenerationRequest& request, int) {
    const std::string& text = request.prompt;
    return text.substr(text.find("pass key is ") + 11, 8);
  };
  PasskeyGrid grid = MakePasskeyGrid(PasskeyForm::kPlain, model.max_tokens(), 2, 3);
  grid.n_keys = 2;
  int n = 0;
  const Json json = MeasurePasskey(
      model, grid, [&](size_t, const Json& sample) { n += sample.At("right").AsBool() ? 1 : 0; });
  EXPECT_EQ(n, 12);
  EXPECT_DOUBLE_EQ(json.At("acc").AsDouble(), 1);
  model.answer = [](const GenerationRequest&, int) { return " 50001"; };
  EXPECT_DOUBLE_EQ(MeasurePasskey(model, grid, Ignore).At("acc").AsDouble(), 0);
}

TEST(MeasureMtBenchTest, TheJudgeSeesBothTurns) {
  std::vector<Json> prompts;
  for (const char* name :
       {"single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn"}) {
    Json prompt = Json::Object();
    prompt.Set("name", name).Set("system_prompt", "S");
    prompt.Set("prompt_template", "{answer}{answer_1}/{answer_2}");
    prompts.push_back(prompt);
  }
  const std::vector<Json> questions = {
      Json::Parse(R"({"question_id": 1, "category": "stem", "turns": ["one?", "two?"]})", "row")};
  ScriptedModel model, judge;
  model.answer = [](const GenerationRequest& request, int) {
    EXPECT_EQ(request.max_tokens, 512);  // half of the context
    return request.messages.size() == 1 ? "first" : request.messages[1].content + " second";
  };
  std::vector<std::string> asked;
  judge.answer = [&](const GenerationRequest& request, int) {
    EXPECT_EQ(request.max_tokens, 512);
    asked.push_back(request.messages[1].content);
    return asked.back().find("second") == std::string::npos ? "[[4]]" : "no idea";
  };
  const Json json = MeasureMtBench(model, judge, MtBench(questions, {}, prompts), Ignore);
  EXPECT_EQ(asked,
            (std::vector<std::string>{"{answer}first/first second", "first{answer_1}/{answer_2}"}));
  EXPECT_DOUBLE_EQ(json.At("score").AsDouble(), 4);
  EXPECT_EQ(json.At("n_unparsed").AsInt(), 1);
  EXPECT_TRUE(json.At("turn_2").IsNull());
}

}  // namespace
}  // namespace mixtral::eval
