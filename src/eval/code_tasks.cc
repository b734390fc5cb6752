// SPDX-License-Identifier: Apache-2.0
#include "eval/code_tasks.h"

#include "base/check.h"
#include "base/error.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

/// MBPP's solutions have line ends of two characters.
std::string Lines(const Json& value) {
  std::string text = value.AsString();
  std::erase(text, '\r');
  return text;
}

std::vector<std::string> Tests(const Json& row) {
  std::vector<std::string> tests;
  const Json list = row.At("test_list");
  for (size_t i = 0; i < list.Size(); ++i) tests.push_back(Lines(list.At(i)));
  if (tests.empty())
    Throw(ErrorCode::kCorrupt, "{}.test_list: expected tests, found none", row.path());
  return tests;
}

std::string Task(const Json& row) {
  return fmt::format(
      "You are an expert Python programmer, and here is your task: {} Your code should pass these "
      "tests:\n\n{}\n[BEGIN]\n",
      Lines(row.At("text")), Join(Tests(row), "\n"));
}

std::string LastLine(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const size_t begin = text.rfind('\n');
  return Printable(begin == std::string_view::npos ? text : text.substr(begin + 1), 200);
}

}  // namespace

CodeProblem ParseHumanEval(const Json& row) {
  const std::string prompt = row.At("prompt").AsString();
  return {.id = row.At("task_id").AsString(),
          .prompt = prompt,
          .before = prompt,
          .after = fmt::format("\n{}\ncheck({})\n", row.At("test").AsString(),
                               row.At("entry_point").AsString()),
          .stop = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
          .max_tokens = 512};
}

CodeProblem ParseMbpp(const Json& row, std::span<const Json> examples) {
  std::string tests = Join(Tests(row), "\n");
  // What the tests need besides the answer, which it may build upon.
  if (const std::optional<Json> setup = row.Find("test_setup_code"))
    tests = Lines(*setup) + "\n" + tests;
  CodeProblem problem = {.id = fmt::format("MBPP/{}", row.At("task_id").AsInt()),
                         .prompt = {},
                         .before = {},
                         .after = "\n" + tests + "\n",
                         .stop = {"[DONE]"},
                         .max_tokens = 512};
  for (const Json& example : examples)
    problem.prompt += fmt::format("{}{}\n[DONE]\n\n", Task(example), Lines(example.At("code")));
  problem.prompt += Task(row);
  return problem;
}

CodeOutcome RunAnswer(const Sandbox& sandbox, const CodeProblem& problem,
                      const std::string& answer) {
  const ProgramResult result = sandbox.Run(problem.before + answer + problem.after);
  switch (result.end) {
    case ProgramEnd::kFinished:
      return {.verdict = CodeVerdict::kPassed, .reason = ""};
    case ProgramEnd::kTimedOut:
      return {.verdict = CodeVerdict::kTimedOut, .reason = "out of time"};
    case ProgramEnd::kKilled:
      return {.verdict = CodeVerdict::kFailed,
              .reason = fmt::format("ended by signal {}", result.signal)};
    case ProgramEnd::kStopped:
      break;
  }
  return {.verdict = CodeVerdict::kFailed,
          .reason = result.output.empty() ? "ended before the tests" : LastLine(result.output)};
}

double PassAtK(int64_t n, int64_t c, int64_t k) {
  Check(k >= 1 && n >= k && c >= 0 && c <= n, "PassAtK: counts that cannot be");
  if (n - c < k) return 1;
  // As a product, since binomials overflow: the chance that k draws without replacement all fail.
  double all_fail = 1;
  for (int64_t i = n - c + 1; i <= n; ++i)
    all_fail *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - all_fail;
}

}  // namespace mixtral::eval
