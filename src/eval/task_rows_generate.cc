// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "eval/answers.h"
#include "eval/task_rows.h"

namespace mixtral::eval::rows {
namespace {

std::string Text(const Json& row, std::string_view key) { return row.At(key).AsString(); }

std::vector<std::string> Texts(const Json& list) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < list.Size(); ++i) texts.push_back(list.At(i).AsString());
  if (texts.empty())
    Throw(ErrorCode::kCorrupt, "{}: expected at least one answer, found none", list.path());
  return texts;
}

Item Question(std::string prompt, std::vector<std::string> answers, const std::string& shown) {
  Item item;
  item.prompt = std::move(prompt);
  item.answers = std::move(answers);
  item.example = item.prompt + " " + shown;
  return item;
}

/// Text answers of published rows are strings or bare numbers.
std::string NumberText(const Json& value) {
  return value.IsString() ? value.AsString() : value.Dump();
}

}  // namespace

Item NaturalQuestions(const Json& row) {
  std::vector<std::string> answers = Texts(row.At("answer"));
  const std::string shown = answers[0];
  Item item = Question("Q: " + Text(row, "question") + "?\nA:", std::move(answers), shown);
  item.header = "Answer these questions:\n\n";
  return item;
}

Item TriviaQa(const Json& row) {
  const std::string answer = Text(row, "answer");
  std::vector<std::string> answers = {answer};
  const Json aliases = row.At("aliases");
  for (size_t i = 0; i < aliases.Size(); ++i) answers.push_back(aliases.At(i).AsString());
  return Question(Text(row, "context"), std::move(answers), answer);
}

Item Xquad(const Json& row) {
  const Json list = row.At("answers");
  std::vector<std::string> answers;
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json one = list.At(i);
    answers.push_back(one.IsObject() ? Text(one, "text") : one.AsString());
  }
  if (answers.empty())
    Throw(ErrorCode::kCorrupt, "{}: expected at least one answer, found none", list.path());
  const std::string shown = answers[0];
  return Question(Text(row, "context") + "\n\nQ: " + Text(row, "question") + "\n\nA:",
                  std::move(answers), shown);
}

Item BigBenchHard(const Json& row) {
  Item item;
  item.prompt = "Q: " + Text(row, "input") + "\nA: Let's think step by step.\n";
  item.answers = {Text(row, "target")};
  item.group = Text(row, "task");
  return item;
}

std::vector<Item> BigBenchHardExamples(const Json& row) {
  // CANARY \n-----\n DESCRIPTION \n\nQ: example \n\nQ: example ...
  std::string prompt = Text(row, "cot_prompt");
  constexpr std::string_view kRule = "-----\n";
  if (const size_t rule = prompt.find(kRule); rule != std::string::npos)
    prompt.erase(0, rule + kRule.size());
  const std::string mark = "\n\nQ: ";
  std::vector<Item> examples;
  size_t at = prompt.find(mark);
  if (at == std::string::npos)
    Throw(ErrorCode::kCorrupt,
          "{}.cot_prompt: expected examples that begin with \"Q: \", found none", row.path());
  const std::string header = prompt.substr(0, at) + "\n\n";
  while (at != std::string::npos) {
    const size_t begin = at + 2, next = prompt.find(mark, begin);
    Item& item = examples.emplace_back();
    item.header = header;
    item.group = Text(row, "task");
    item.example = prompt.substr(begin, next == std::string::npos ? next : next - begin);
    while (!item.example.empty() && item.example.back() == '\n') item.example.pop_back();
    at = next;
  }
  return examples;
}

Item Gsm8k(const Json& row) {
  const std::string answer = Text(row, "answer");
  const std::string number = FinalNumber(answer);
  if (number.empty())
    Throw(ErrorCode::kCorrupt, "{}.answer: expected a number after \"####\", found none",
          row.path());
  return Question("Question: " + Text(row, "question") + "\nAnswer:", {number}, answer);
}

Item Mgsm(const Json& row) {
  const std::string number = LastNumber(NumberText(row.At("answer")));
  if (number.empty())
    Throw(ErrorCode::kCorrupt, "{}.answer: expected a number, found none", row.path());
  return Question("Question: " + Text(row, "question") + "\nAnswer:", {number}, number);
}

Item Svamp(const Json& row) {
  const std::string number = LastNumber(NumberText(row.At("answer")));
  if (number.empty())
    Throw(ErrorCode::kCorrupt, "{}.answer: expected a number, found none", row.path());
  return Question("Question: " + Text(row, "context") + "\nAnswer:", {number}, number);
}

Item Math(const Json& row) {
  const std::string solution = Text(row, "solution");
  const std::string boxed = BoxedAnswer(solution);
  if (boxed.empty())
    Throw(ErrorCode::kCorrupt, "{}.solution: expected \\boxed{{...}}, found none", row.path());
  Item item = Question("Problem:\n" + Text(row, "problem") + "\n\nSolution:", {boxed}, solution);
  if (const auto type = row.Find("type")) item.group = type->AsString();
  return item;
}

}  // namespace mixtral::eval::rows
