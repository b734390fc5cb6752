// SPDX-License-Identifier: Apache-2.0
// mixtral batch on the model that ships: answers that do not depend on their neighbours, runs that
// go on where they were stopped, lines that are no requests.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "base/json.h"
#include "base/strings.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

class E2eBatch : public ::testing::Test {
 protected:
  Finished Batch(const std::string& input, const std::vector<std::string>& more = {}) {
    WriteFile(in_, input);
    return Again(more);
  }
  Finished Again(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"batch", in_, out_, ShippedModel(), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Mixtral(arguments);
  }
  /// Answers by custom_id.
  std::map<std::string, Json> Answers() {
    std::map<std::string, Json> answers;
    const std::string text = ReadFile(out_);
    EXPECT_TRUE(text.empty() || text.back() == '\n');
    for (const std::string_view line : Split(text, '\n')) {
      if (line.empty()) continue;
      const Json answer = Json::Parse(line, "answer");
      EXPECT_TRUE(answers.emplace(answer.At("custom_id").AsString(), answer).second) << line;
    }
    return answers;
  }
  static int64_t StatusOf(const Json& answer) {
    return answer.At("response").At("status_code").AsInt();
  }
  static std::string TextOf(const Json& answer) {
    EXPECT_EQ(StatusOf(answer), 200) << answer.Dump();
    return answer.At("response").At("body").At("choices").At(0).At("text").AsString();
  }
  static std::string Requests(int n, int max_tokens = 12) {
    std::string text;
    for (int i = 0; i < n; ++i)
      text += fmt::format(
          R"({{"custom_id": "r{}", "prompt": "The document {}", "max_tokens": {}, "ignore_eos": true}})"
          "\n",
          i, i, max_tokens);
    return text;
  }

  TempDir dir_;
  const std::string in_ = dir_ / "in.jsonl", out_ = dir_ / "out.jsonl";
};

TEST_F(E2eBatch, AnswersAreThoseOfRun) {
  const Finished batch = Batch(
      R"({"prompt": "The document", "max_tokens": 9, "temperature": 0, "ignore_eos": true})"
      "\n\n"
      R"({"custom_id": "b", "url": "/v1/completions", "method": "POST", "body": )"
      R"({"model": "gpt-3", "prompt": "Click the", "max_tokens": 9, "seed": 5, "ignore_eos": true}})"
      "\n",
      {"--json"});
  EXPECT_EQ(batch.exit_code, 0) << batch.err;
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 2u);
  const auto run = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"run",    ShippedModel(), "-n",          "9",
                                          "--json", "-q",           "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Json::Parse(Mixtral(arguments).out, "run").At("text").AsString();
  };
  EXPECT_EQ(TextOf(answers.at("line-1")), run({"-p", "The document", "--temperature", "0"}));
  EXPECT_EQ(TextOf(answers.at("b")), run({"-p", "Click the", "--temperature", "1", "--seed", "5"}));
  const Json summary = Json::Parse(batch.out, "summary");
  EXPECT_EQ(summary.At("answered").AsInt(), 2);
  EXPECT_EQ(summary.At("completion_tokens").AsInt(), 18);
}

TEST_F(E2eBatch, NeighboursDoNotMatter) {
  ASSERT_EQ(Batch(Requests(20)).exit_code, 0);
  const auto together = Answers();
  std::filesystem::remove(out_);
  ASSERT_EQ(Again({"--max-running", "1", "--step-tokens", "3"}).exit_code, 0);
  const auto alone = Answers();
  ASSERT_EQ(together.size(), 20u);
  ASSERT_EQ(alone.size(), 20u);
  for (const auto& [id, answer] : together) EXPECT_EQ(TextOf(answer), TextOf(alone.at(id))) << id;
}

TEST_F(E2eBatch, GoesOnWhereItWasStopped) {
  ASSERT_EQ(Batch(Requests(6)).exit_code, 0);
  const auto whole = Answers();
  const std::string text = ReadFile(out_);
  const size_t second = text.find('\n', text.find('\n') + 1) + 1;
  // Two answers, and the beginning of a third one.
  WriteFile(out_, text.substr(0, second + 40));
  const Finished again = Again({"--json"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(Json::Parse(again.out, "summary").At("skipped").AsInt(), 2);
  EXPECT_EQ(ReadFile(out_).substr(0, second), text.substr(0, second));
  const auto resumed = Answers();
  ASSERT_EQ(resumed.size(), 6u);
  for (const auto& [id, answer] : whole) EXPECT_EQ(TextOf(answer), TextOf(resumed.at(id))) << id;
  const std::string before = ReadFile(out_);
  EXPECT_EQ(Again().exit_code, 0);
  EXPECT_EQ(ReadFile(out_), before) << "nothing is left to do";
}

TEST_F(E2eBatch, CtrlCKeepsWhatIsThere) {
  WriteFile(in_, Requests(400, 40));
  StalledChild child({"batch", in_, out_, ShippedModel(), "-q"});
  std::error_code none_yet;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    const auto size = std::filesystem::file_size(out_, none_yet);
    if (!none_yet && size > 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  child.Send(SIGINT);
  const Finished run = child.Finish();
  EXPECT_EQ(run.exit_code, 130) << run.err;
  const size_t n = Answers().size();
  EXPECT_GT(n, 0u);
  EXPECT_LT(n, 400u);
}

TEST_F(E2eBatch, BadLinesAreReportedByTheirNumbers) {
  const std::string input = Requests(1) +
                            "not json\n"
                            R"({"custom_id": "x"})"
                            "\n"
                            R"({"custom_id": "r0", "prompt": "again"})"
                            "\n"
                            R"({"prompt": "a", "stream": true})"
                            "\n"
                            R"({"url": "/v1/files", "body": {}})"
                            "\n"
                            R"({"custom_id": "cold", "prompt": "a", "temperature": -1})"
                            "\n";
  const Finished batch = Batch(input);
  EXPECT_EQ(batch.exit_code, 0) << batch.err;
  for (const char* text : {"line 2: ", "line 3: ",
                           "line 4: custom_id: expected each once, found "
                           "'r0' of line 1 again",
                           "line 5: stream", "line 6: url"})
    EXPECT_NE(batch.err.find(text), std::string::npos) << text << " in " << batch.err;
  const auto answers = Answers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(StatusOf(answers.at("cold")), 400);
  EXPECT_NE(answers.at("cold").Dump().find("temperature"), std::string::npos);
  std::filesystem::remove(out_);
  const Finished strict = Again({"--strict"});
  EXPECT_EQ(RefusalProblem(strict, 2, "in.jsonl line 2: "), "");
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(E2eBatch, RefusesWhatItCannotUse) {
  WriteFile(in_, Requests(1));
  EXPECT_EQ(RefusalProblem(Mixtral({"batch", in_, in_, ShippedModel()}), 1, "expected two files"),
            "");
  EXPECT_EQ(
      RefusalProblem(Mixtral({"batch", dir_ / "none", out_, ShippedModel()}), 2, "cannot open"),
      "");
  EXPECT_EQ(
      RefusalProblem(Mixtral({"batch", in_, "/dev/null", ShippedModel()}), 2, "expected a file"),
      "");
  WriteFile(out_, "{\"something\": \"else\"}\n");
  EXPECT_EQ(RefusalProblem(Again(), 2, "out.jsonl line 1"), "");
  EXPECT_EQ(ReadFile(out_), "{\"something\": \"else\"}\n");
}

}  // namespace
}  // namespace mixtral::testing
