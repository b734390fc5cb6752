// SPDX-License-Identifier: Apache-2.0
// pass@k against binomials computed by hand, prompts, and the published solutions in the sandbox
// where the data and the isolation are at hand.
#include "eval/code_tasks.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/error.h"
#include "data/row_reader.h"
#include "eval/test_sandbox.h"

namespace mixtral::eval {
namespace {

TEST(PassAtKTest, IsOneMinusTheChanceThatAllFail) {
  EXPECT_DOUBLE_EQ(PassAtK(1, 0, 1), 0);
  EXPECT_DOUBLE_EQ(PassAtK(1, 1, 1), 1);
  EXPECT_NEAR(PassAtK(10, 3, 1), 0.3, 1e-12);
  EXPECT_NEAR(PassAtK(5, 2, 2), 1 - 3.0 / 10, 1e-12);     // C(3,2) / C(5,2)
  EXPECT_NEAR(PassAtK(10, 3, 5), 1 - 21.0 / 252, 1e-12);  // C(7,5) / C(10,5)
  EXPECT_NEAR(PassAtK(200, 1, 100), 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(PassAtK(10, 6, 5), 1);  // four fail: five draws hold a passing one
}

constexpr const char* kHumanEval = R"({"task_id": "Test/0", "prompt": "def twice(x):\n",
  "entry_point": "twice", "canonical_solution": "    return 2 * x\n",
  "test": "def check(candidate):\n    assert candidate(4) == 8\n"})";

TEST(CodeTasksTest, HumanEvalContinuesTheHead) {
  const CodeProblem problem = ParseHumanEval(Json::Parse(kHumanEval, "row"));
  EXPECT_EQ(problem.prompt, "def twice(x):\n");
  EXPECT_EQ(
      problem.before + "    return 2 * x\n" + problem.after,
      "def twice(x):\n    return 2 * x\n\ndef check(candidate):\n    assert candidate(4) == 8\n\n"
      "check(twice)\n");
  EXPECT_EQ(problem.stop.size(), 5U);
}

TEST(CodeTasksTest, MbppShowsExamplesBetweenItsMarks) {
  const Json example = Json::Parse(
      R"({"text": "Add.", "code": "def add(a, b):\r\n  return a + b", "task_id": 2,
          "test_list": ["assert add(1, 2) == 3"]})",
      "row");
  const Json row = Json::Parse(
      R"({"text": "Halve.", "code": "", "task_id": 11, "test_setup_code": "import math",
          "test_list": ["assert halve(4) == 2", "assert halve(2) == 1"]})",
      "row");
  const CodeProblem problem = ParseMbpp(row, std::vector{example});
  EXPECT_EQ(problem.prompt,
            "You are an expert Python programmer, and here is your task: Add. Your code should "
            "pass these "
            "tests:\n\nassert add(1, 2) == 3\n[BEGIN]\ndef add(a, b):\n  return a + b\n[DONE]\n\n"
            "You are an expert Python programmer, and here is your task: Halve. Your code should "
            "pass these "
            "tests:\n\nassert halve(4) == 2\nassert halve(2) == 1\n[BEGIN]\n");
  EXPECT_EQ(problem.before + "X" + problem.after,
            "X\nimport math\nassert halve(4) == 2\nassert halve(2) == 1\n");
  EXPECT_EQ(problem.id, "MBPP/11");
}

class CodeRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    sandbox_ = PatientSandbox(&why_not);
    if (!sandbox_) GTEST_SKIP() << why_not;
  }
  /// Rows of a published file; none where it is not at hand.
  static std::vector<Json> Rows(const std::string& name) {
    const char* shared = getenv("MIXTRAL_SHARED");
    const std::string path =
        std::string(shared != nullptr ? shared : "../shared") + "/eval-data/" + name;
    std::vector<Json> rows;
    if (!std::filesystem::exists(path)) return rows;
    const auto files = data::ListInputs({"x=" + path});
    data::RowReader reader(&files);
    while (const auto row = reader.Next()) rows.push_back(Json::Parse(row->bytes, path));
    return rows;
  }
  std::optional<Sandbox> sandbox_;
};

TEST_F(CodeRunTest, TellsRightFromWrongAnswers) {
  const CodeProblem problem = ParseHumanEval(Json::Parse(kHumanEval, "row"));
  EXPECT_EQ(RunAnswer(*sandbox_, problem, "    return 2 * x\n").verdict, CodeVerdict::kPassed);
  const CodeOutcome wrong = RunAnswer(*sandbox_, problem, "    return x\n");
  EXPECT_EQ(wrong.verdict, CodeVerdict::kFailed);
  EXPECT_EQ(wrong.reason, "AssertionError");
  EXPECT_EQ(RunAnswer(*sandbox_, problem, "    exit(0)\n").verdict, CodeVerdict::kFailed);
  EXPECT_EQ(RunAnswer(*sandbox_, problem, "    return (\n").verdict, CodeVerdict::kFailed);
  EXPECT_EQ(RunAnswer(*sandbox_, problem, "    import os; os.abort()\n").reason,
            "ended by signal 6");
  Sandbox brief = *sandbox_;
  brief.set_seconds(0.5);
  EXPECT_EQ(RunAnswer(brief, problem, "    while True: pass\n").verdict, CodeVerdict::kTimedOut);
}

// A part of the files; all of them with MIXTRAL_ALL_SOLUTIONS=1.
TEST_F(CodeRunTest, PublishedSolutionsPass) {
  const size_t step = getenv("MIXTRAL_ALL_SOLUTIONS") != nullptr ? 1 : 20;
  const std::vector<Json> human_eval = Rows("humaneval/HumanEval.jsonl.gz");
  const std::vector<Json> mbpp = Rows("mbpp/test.jsonl.gz");
  if (human_eval.empty() || mbpp.empty()) GTEST_SKIP() << "the data are not at hand";
  int64_t n_passed = 0, n = 0;
  for (size_t i = 0; i < human_eval.size(); i += step, ++n) {
    const CodeProblem problem = ParseHumanEval(human_eval[i]);
    const CodeOutcome outcome =
        RunAnswer(*sandbox_, problem, human_eval[i].At("canonical_solution").AsString());
    EXPECT_EQ(outcome.verdict, CodeVerdict::kPassed) << problem.id << ": " << outcome.reason;
    n_passed += outcome.verdict == CodeVerdict::kPassed ? 1 : 0;
  }
  for (size_t i = 0; i < mbpp.size(); i += step, ++n) {
    const CodeProblem problem = ParseMbpp(mbpp[i], {});
    const CodeOutcome outcome = RunAnswer(*sandbox_, problem, mbpp[i].At("code").AsString());
    EXPECT_EQ(outcome.verdict, CodeVerdict::kPassed) << problem.id << ": " << outcome.reason;
    n_passed += outcome.verdict == CodeVerdict::kPassed ? 1 : 0;
  }
  std::cout << n_passed << " of " << n << " solutions pass\n";
}

}  // namespace
}  // namespace mixtral::eval
