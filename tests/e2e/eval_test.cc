// SPDX-License-Identifier: Apache-2.0
// mixtral eval on the model that ships, with rows written here.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";

class E2eEval : public ::testing::Test {
 protected:
  E2eEval() {
    if (!std::filesystem::exists(kModel)) return;
    std::filesystem::create_directories(dir_ / "arc");
    std::ofstream rows(dir_ / "arc/arc_easy.jsonl");
    for (int i = 0; i < 5; ++i)
      rows << R"({"query": "Question: where is the menu number )" << i
           << R"(?", "choices": ["in the document", "qqq zzz"], "gold": 0})" << '\n';
  }
  Finished Eval(std::vector<std::string> more) {
    std::vector<std::string> words = {"eval", kModel, "--data", dir_.path(), "--tasks", "arc_easy"};
    words.insert(words.end(), more.begin(), more.end());
    return Mixtral(words);
  }
  std::string Read(const std::string& name) {
    std::ifstream file(dir_ / name);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  TempDir dir_;
};

TEST_F(E2eEval, ScoresFilesAndGoingOn) {
  const std::string out = dir_ / "out";
  ASSERT_EQ(Eval({"--limit", "2", "--output", out}).exit_code, 0);
  const Finished whole = Eval({"--output", out, "--json"});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const Json result = Json::Parse(whole.out, "results").At("results").At(0);
  EXPECT_EQ(result.At("n").AsInt(), 5);
  EXPECT_EQ(result.At("metrics").At("acc_norm").AsDouble(), 1) << "words of its text or none";
  EXPECT_EQ(result.At("paper").At("Mixtral 8x7B").AsDouble(), 83.1);
  const std::string samples = Read("out/samples_arc_easy.jsonl");
  EXPECT_EQ(std::count(samples.begin(), samples.end(), '\n'), 6) << "settings and five samples";
  EXPECT_NE(Read("out/report.html").find("ARC-easy"), std::string::npos);
  EXPECT_NE(Read("out/results.md").find("| arc_easy | acc_norm * | 0-shot | 5 | 100.0"),
            std::string::npos);
  EXPECT_EQ(RefusalProblem(Eval({"--output", out, "--num-fewshot", "1"}), 2, "another --output"),
            "");
}

TEST_F(E2eEval, OneLineForWhatIsWrong) {
  EXPECT_EQ(RefusalProblem(Mixtral({"eval", kModel, "--tasks", "arc_eazy"}), 1,
                           "did you mean 'arc_easy'?"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral({"eval", kModel, "--tasks", "arc_easy"}), 1, "--data DIR"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"eval"}), 1, "expected MODEL or --endpoint URL"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"eval", kModel, "--data", dir_.path(), "--tasks", "piqa"}), 2,
                           "piqa/valid.jsonl"),
            "");
  EXPECT_EQ(RefusalProblem(Eval({"--output", kModel}), 2, "cannot make the folder"), "");
  EXPECT_EQ(Mixtral({"eval", "--list"}).exit_code, 0);
}

}  // namespace
}  // namespace mixtral::testing
