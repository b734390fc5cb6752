// SPDX-License-Identifier: Apache-2.0
// Rows as questions, to the character. The rows here are made up.
#include "eval/task_rows.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mixtral::eval {
namespace {

Json Row(const char* text) { return Json::Parse(text, "rows.jsonl:7"); }

TEST(TaskRows, HellaSwag) {
  const Item item = rows::HellaSwag(Row(
      R"({"context": "[header] How to sit [title] Take a  chair. [step] Then", "endings": ["sit [substeps] down.", "run."], "label": 0, "activity_label": "Home"})"));
  EXPECT_EQ(item.prompt, "Home: How to sit. Take a chair. Then");
  EXPECT_EQ(item.continuations, (std::vector<std::string>{" sit down.", " run."}));
  EXPECT_EQ(item.example, "Home: How to sit. Take a chair. Then sit down.");
}

TEST(TaskRows, HellaSwagsMarksEndInTheirLineWhateverTheLength) {
  EXPECT_EQ(rows::CleanHellaSwag("a [b] c [d\ne] f]"), "a c [d\ne] f]");
  EXPECT_EQ(rows::CleanHellaSwag("[" + std::string(1 << 20, 'x') + "]z"), "z");
}

TEST(TaskRows, WinoGrandeHasAContextForEachChoice) {
  const Item item = rows::WinoGrande(Row(
      R"({"context_options": ["The cup hit the tile so the cup", "The cup hit the tile so the tile"], "continuation": "broke.", "gold": 1})"));
  EXPECT_EQ(item.contexts[1], "The cup hit the tile so the tile");
  EXPECT_EQ(item.continuations, (std::vector<std::string>{" broke.", " broke."}));
  EXPECT_EQ(item.right, 1u);
}

TEST(TaskRows, MmluAndItsTranslation) {
  const Item item = rows::Mmlu(Row(
      R"({"subject": "high_school_physics", "question": " What falls? ", "choices": ["up", "down"], "answer": 1})"));
  EXPECT_EQ(item.header,
            "The following are multiple choice questions (with answers) about high school "
            "physics.\n\n");
  EXPECT_EQ(item.prompt, "What falls?\nA. up\nB. down\nAnswer:");
  EXPECT_EQ(item.continuations, (std::vector<std::string>{" A", " B"}));
  EXPECT_EQ(item.example, "What falls?\nA. up\nB. down\nAnswer: B");
  const Item german = rows::OkapiMmlu(Row(
      R"({"instruction": "Was?", "option_a": "x", "option_b": "y", "answer": "B", "id": "law/val/3"})"));
  EXPECT_EQ(german.group, "law");
  EXPECT_EQ(german.right, 1u);
}

TEST(TaskRows, XcopaJoinsByTheKindOfQuestion) {
  const char* row =
      R"({"premise": "Piove.", "choice1": "Prendo l'ombrello.", "choice2": "Esco.", "question": "%s", "label": 0})";
  const auto with = [&](const char* kind) {
    std::string text = row;
    return rows::XcopaItalian(Row(text.replace(text.find("%s"), 2, kind).c_str()));
  };
  EXPECT_EQ(with("effect").prompt + with("effect").continuations[0],
            "Piove quindi prendo l'ombrello.");
  EXPECT_EQ(with("cause").prompt, "Piove perch\xC3\xA9");
  EXPECT_THROW(with("reason"), Error);
}

TEST(TaskRows, Gsm8kKeepsItsReasoningInExamples) {
  const Item item =
      rows::Gsm8k(Row(R"({"question": "2 and 1,000?", "answer": "2 + 1000 = 1002\n#### 1,002"})"));
  EXPECT_EQ(item.answers, std::vector<std::string>{"1002"});
  EXPECT_EQ(item.example, "Question: 2 and 1,000?\nAnswer: 2 + 1000 = 1002\n#### 1,002");
  EXPECT_THROW(rows::Gsm8k(Row(R"({"question": "2?", "answer": "none"})")), Error);
}

TEST(TaskRows, BigBenchHardsPromptIsTakenApart) {
  const auto examples = rows::BigBenchHardExamples(Row(
      R"({"task": "t", "cot_prompt": "CANARY\n-----\nSort words.\n\nQ: b a\nA: Let's think step by step.\nSo the answer is a b.\n\nQ: d c\nA: Let's think step by step.\nSo the answer is c d.\n"})"));
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].header, "Sort words.\n\n");
  EXPECT_EQ(examples[1].example, "Q: d c\nA: Let's think step by step.\nSo the answer is c d.");
  EXPECT_EQ(rows::BigBenchHard(Row(R"({"task": "t", "input": "f e", "target": "e f"})")).prompt,
            "Q: f e\nA: Let's think step by step.\n");
}

TEST(TaskRows, MathNeedsABox) {
  EXPECT_EQ(rows::Math(Row(R"({"problem": "1+1", "solution": "It is $\\boxed{2}$."})")).answers,
            std::vector<std::string>{"2"});
  EXPECT_THROW(rows::Math(Row(R"({"problem": "1+1", "solution": "2"})")), Error);
}

TEST(TaskRows, WrongRowsNameFieldAndPlace) {
  try {
    rows::Piqa(Row(R"({"goal": "g", "sol1": "a", "sol2": 5, "label": 0})"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("$.sol2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("rows.jsonl:7"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace mixtral::eval
