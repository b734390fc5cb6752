// SPDX-License-Identifier: Apache-2.0
// Tasks on a scripted model, with scores computed by hand; interruption and resuming.
#include "eval/run_task.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "eval/run_measure.h"
#include "eval/test_models.h"
#include "eval/test_sandbox.h"

namespace mixtral::eval {
namespace {

const Task& Named(const std::string& name) {
  const std::vector<std::string> words = {name};
  return *ChooseTasks(words).at(0);
}

class RunTaskTest : public ::testing::Test {
 protected:
  RunTaskTest() { std::filesystem::create_directories(dir_); }
  ~RunTaskTest() override { std::filesystem::remove_all(dir_); }
  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = dir_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  TaskOptions Options() const {
    TaskOptions options;
    options.data = dir_.string();
    return options;
  }

  const std::filesystem::path dir_ =
      std::filesystem::path(::testing::TempDir()) / ("run_task_test_" + std::to_string(getpid()));
};

constexpr const char* kArcRows =
    R"({"query": "Question: one?", "choices": ["aa", "bbbb"], "gold": 1}
{"query": "Question: two?", "choices": ["aa", "bbbb"], "gold": 0}
{"query": "Question: three?", "choices": ["aa", "bbbb"], "gold": 0}
)";

/// -1 for " aa", -1.5 for " bbbb": " aa" by the sum, " bbbb" by byte (-0.5 and -0.375).
double FavourShort(const ContinuationRequest& request) {
  return request.continuation == " aa" ? -1 : -1.5;
}

TEST_F(RunTaskTest, AccuracyBySumAndByByte) {
  Write("arc/arc_easy.jsonl", kArcRows);
  ScriptedModel model;
  std::vector<std::string> contexts;
  model.logprob = [&](const ContinuationRequest& request) {
    contexts.push_back(request.context);
    return FavourShort(request);
  };
  SampleLog log;
  const auto result = RunTask(model, Named("arc_easy"), Options(), &log);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->n, 3);
  EXPECT_DOUBLE_EQ(result->metrics.at("acc").mean, 2.0 / 3);
  EXPECT_DOUBLE_EQ(result->metrics.at("acc_norm").mean, 1.0 / 3);
  // sd of {0, 1, 1} over n - 1 is sqrt(1/3); by sqrt(3): 1/3.
  EXPECT_NEAR(result->metrics.at("acc").error, 1.0 / 3, 1e-12);
  EXPECT_EQ(contexts.back(), "Question: one?\nAnswer:");
}

TEST_F(RunTaskTest, ExamplesOfTheSameSubject) {
  Write("mmlu/test.jsonl",
        R"({"subject": "law", "question": "q?", "choices": ["x", "y"], "answer": 0})");
  Write("mmlu/dev_fewshot.jsonl",
        R"({"subject": "art", "question": "no", "choices": ["x", "y"], "answer": 0}
{"subject": "law", "question": "one", "choices": ["x", "y"], "answer": 1}
{"subject": "law", "question": "two", "choices": ["x", "y"], "answer": 0}
)");
  ScriptedModel model;
  std::string context;
  model.logprob = [&](const ContinuationRequest& request) {
    context = request.context;
    return request.continuation == " A" ? -1 : -2;
  };
  SampleLog log;
  TaskOptions options = Options();
  options.n_shots = 1;
  const auto result = RunTask(model, Named("mmlu"), options, &log);
  EXPECT_EQ(context,
            "The following are multiple choice questions (with answers) about law.\n\n"
            "one\nA. x\nB. y\nAnswer: B\n\nq?\nA. x\nB. y\nAnswer:");
  EXPECT_DOUBLE_EQ(result->groups.at("law").at("acc").mean, 1);
  EXPECT_EQ(result->metrics.at("acc").error, 0);
}

TEST_F(RunTaskTest, SubjectsArePooled) {
  const std::vector<std::vector<double>> groups = {{1, 0, 1, 1}, {0, 0}};
  const MeanError pooled = PooledMean(groups);
  EXPECT_EQ(pooled.n, 6);
  EXPECT_DOUBLE_EQ(pooled.mean, 0.5);
  EXPECT_DOUBLE_EQ(pooled.error, std::sqrt(0.75 / 4 / 6));  // squares 0.75 and 0, of 6 - 2
  EXPECT_DOUBLE_EQ(PooledMean(std::span(groups).first(1)).error, MeanOf(groups[0]).error);
  const std::vector<std::vector<double>> single = {{1}, {0}};
  // One value says nothing of its subject's spread: the error is that of all values.
  EXPECT_DOUBLE_EQ(PooledMean(single).error, 0.5);
}

TEST_F(RunTaskTest, ALimitTakesSubjectsInTurn) {
  std::string rows;
  for (const char* subject : {"art", "art", "art", "law", "law", "zoo"})
    rows +=
        fmt::format(R"({{"subject": "{}", "question": "q{}", "choices": ["x", "y"], "answer": 0}})"
                    "\n",
                    subject, rows.size());
  Write("mmlu/test.jsonl", rows);
  TaskOptions options = Options();
  options.n_shots = 0;
  ScriptedModel model;
  int n_asked = 0;
  model.logprob = [&](const ContinuationRequest& request) {
    ++n_asked;
    return request.continuation == " A" ? -1.0 : -2.0;
  };
  SampleLog log;
  const auto run = [&](int64_t limit) {
    options.limit = limit;
    return *RunTask(model, Named("mmlu"), options, &log);
  };
  EXPECT_EQ(run(4).n, 4);
  for (const int64_t row : {0, 1, 3, 5}) EXPECT_TRUE(log.Has(row)) << row;
  EXPECT_EQ(run(3).groups.size(), 3u);
  EXPECT_EQ(n_asked, 8) << "a lower limit has nothing new to ask";
  EXPECT_EQ(run(-1).n, 6);
  EXPECT_EQ(n_asked, 12);
}

TEST_F(RunTaskTest, MbppShowsTasksTwoToFour) {
  std::string why_not;
  if (!PatientSandbox(&why_not)) GTEST_SKIP() << why_not;
  std::string examples;
  for (int i = 1; i <= 6; ++i)
    examples += fmt::format(
        R"({{"task_id": {}, "text": "Do {}.", "code": "pass", "test_list": ["assert 1"]}})"
        "\n",
        i, i);
  Write("mbpp/fewshot.jsonl", examples);
  Write("mbpp/test.jsonl",
        R"({"task_id": 11, "text": "Do it.", "code": "pass", "test_list": ["assert 1"]})");
  ScriptedModel model;
  model.answer = [](const GenerationRequest& request, int) {
    std::string shown;
    for (size_t at = 0; (at = request.prompt.find(" Do ", at)) != std::string::npos; ++at)
      shown += request.prompt.substr(at + 4, 2);
    EXPECT_EQ(shown, "2.3.4.it");
    return "pass";
  };
  SampleLog log;
  MeasureOptions options;
  options.task = Options();
  options.allow_code_execution = true;
  EXPECT_EQ(RunMeasure(model, Named("mbpp"), options, &log)->n, 1);
}

TEST_F(RunTaskTest, MajorityOfAnswers) {
  Write("gsm8k/test.jsonl", R"({"question": "1?", "answer": "#### 5"}
{"question": "2?", "answer": "#### 9"}
)");
  Write("gsm8k/fewshot.jsonl", R"({"question": "0?", "answer": "so\n#### 0"})");
  ScriptedModel model;
  model.answer = [](const GenerationRequest& request, int i) {
    EXPECT_TRUE(request.prompt.starts_with("Question: 0?\nAnswer: so\n#### 0\n\nQuestion: "));
    EXPECT_EQ(request.stop, std::vector<std::string>{"Question:"});
    EXPECT_GT(request.temperature, 0);
    const char* answers[] = {"it is 7", "that is 5\n#### 5", "#### 5.0", "none"};
    return std::string(answers[i]);
  };
  SampleLog log;
  TaskOptions options = Options();
  options.n_answers = 4;
  const auto result = RunTask(model, Named("gsm8k"), options, &log);
  // Votes 7, 5, 5: right for the first question, wrong for the second.
  EXPECT_DOUBLE_EQ(result->metrics.at("exact_match").mean, 0.5);
  EXPECT_EQ(log.samples().at(0).At("answer").AsString(), "5");
}

TEST_F(RunTaskTest, GoesOnWhereItWasStopped) {
  Write("arc/arc_easy.jsonl", kArcRows);
  const std::string path = dir_ / "samples.jsonl";
  const Json settings = TaskSettings(Named("arc_easy"), Options(), ScriptedModel());
  {
    SampleLog log(path, settings);
    TaskOptions options = Options();
    options.limit = 2;
    ScriptedModel model;
    model.logprob = FavourShort;
    ASSERT_TRUE(RunTask(model, Named("arc_easy"), options, &log).has_value());
  }
  std::ofstream(path, std::ios::app) << "{\"index\": 2, \"metr";  // cut off
  SampleLog log(path, settings);
  int n_asked = 0;
  ScriptedModel model;
  model.logprob = [&](const ContinuationRequest& request) {
    ++n_asked;
    return FavourShort(request);
  };
  const auto result = RunTask(model, Named("arc_easy"), Options(), &log);
  EXPECT_EQ(n_asked, 2) << "one question of two choices was left";
  EXPECT_EQ(result->n, 3);
  EXPECT_DOUBLE_EQ(result->metrics.at("acc").mean, 2.0 / 3);

  TaskOptions other = Options();
  other.n_shots = 3;
  try {
    SampleLog(path, TaskSettings(Named("arc_easy"), other, ScriptedModel()));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("n_shots 0, now 3"), std::string::npos)
        << error.what();
  }
}

TEST_F(RunTaskTest, CancelledRunsKeepWhatIsDone) {
  Write("arc/arc_easy.jsonl", kArcRows);
  std::atomic<bool> cancel = false;
  TaskOptions options = Options();
  options.cancel = &cancel;
  ScriptedModel model;
  model.logprob = [&](const ContinuationRequest& request) {
    cancel = true;
    return FavourShort(request);
  };
  SampleLog log;
  EXPECT_FALSE(RunTask(model, Named("arc_easy"), options, &log).has_value());
  EXPECT_EQ(log.samples().size(), 3u);
}

TEST_F(RunTaskTest, MissingAndWrongFilesAreNamed) {
  SampleLog log;
  ScriptedModel model;
  const auto problem = [&] {
    try {
      RunTask(model, Named("arc_easy"), Options(), &log);
      return std::string("none");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_NE(problem().find("arc/arc_easy.jsonl.gz"), std::string::npos) << problem();
  Write("arc/arc_easy.jsonl", "");
  EXPECT_NE(problem().find("at least one row"), std::string::npos) << problem();
  Write("arc/arc_easy.jsonl", "{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": 1}\n");
  EXPECT_NE(problem().find("arc_easy.jsonl:1"), std::string::npos) << problem();
  Write("arc/arc_easy.jsonl", "\n{\"query\"\n");
  EXPECT_NE(problem().find("arc_easy.jsonl:2"), std::string::npos) << problem();
}

TEST(ChooseTasksTest, NamesAreasAndTypos) {
  const auto chosen = [](std::vector<std::string> words) { return ChooseTasks(words).size(); };
  EXPECT_EQ(chosen({"mmlu", "arc_easy", "mmlu"}), 2u);
  EXPECT_EQ(chosen({"knowledge"}), 2u);
  EXPECT_EQ(chosen({"all"}), AllTasks().size());
  try {
    chosen({"helaswag"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'hellaswag'?"), std::string::npos);
  }
}

}  // namespace
}  // namespace mixtral::eval
