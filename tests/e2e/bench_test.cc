// SPDX-License-Identifier: Apache-2.0
// mixtral bench on tiny shapes: figures, files, comparison, refusals, Ctrl-C.
#include <gtest/gtest.h>

#include <csignal>

#include "base/json.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

size_t FilesIn(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

std::vector<std::string> Bench(const TempDir& dir, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "bench", "--shape",   "tiny", "--cache-dir", dir.path(), "--prefill",
      "16",    "--decode",  "4",    "--batch",     "2",        "--repetitions",
      "3",     "--threads", "1",    "--seed",      "7"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(E2eBench, JsonHasMachineModelCeilingsAndFigures) {
  const TempDir dir;
  const Finished run = Mixtral(Bench(dir, {"--type", "q5_k", "--json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::Parse(run.out, "out");
  EXPECT_GE(json.At("machine").At("cpus").AsInt(), 1);
  EXPECT_EQ(json.At("model").At("type").AsString(), "Q5_K");
  EXPECT_EQ(json.At("model").At("layers").AsInt(), 2);
  EXPECT_EQ(json.At("settings").At("seed").AsInt(), 7);
  EXPECT_GT(json.At("ceilings").At(0).At("median").AsDouble(), 0);
  const Json figures = json.At("figures");
  std::vector<std::string> names;
  for (size_t i = 0; i < figures.Size(); ++i) {
    const Json figure = figures.At(i);
    names.push_back(figure.At("name").AsString());
    EXPECT_LE(figure.At("min").AsDouble(), figure.At("median").AsDouble());
    EXPECT_LE(figure.At("median").AsDouble(), figure.At("max").AsDouble());
    EXPECT_EQ(figure.At("n").AsInt(), 3);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"prefill_16", "decode", "decode_batch_2",
                                             "routing_statistics_cost"}));
  EXPECT_GT(figures.At(1).At("bytes_per_token").AsDouble(), 1e5);
}

TEST(E2eBench, TheShapeIsKeptUsedAgainAndDeletedOnRequest) {
  const TempDir dir;
  const Finished first = Mixtral(Bench(dir, {}));
  EXPECT_NE(first.err.find("kept for the next time"), std::string::npos) << first.err;
  EXPECT_NE(first.out.find("decode_batch_2"), std::string::npos) << first.out;
  const std::string file = dir / "tmp/tiny-2-layers-q4_k.v1.gguf";
  ASSERT_TRUE(std::filesystem::exists(file));
  EXPECT_EQ(Mixtral({"info", file, "--no-measure"}).exit_code, 0);
  EXPECT_NE(Mixtral(Bench(dir, {})).err.find("used again"), std::string::npos);
  std::filesystem::resize_file(file, 1000);  // not whole: made anew
  EXPECT_NE(Mixtral(Bench(dir, {"--delete"})).err.find("deleted at the end"), std::string::npos);
  EXPECT_EQ(FilesIn(dir / "tmp"), 0u);
}

TEST(E2eBench, AModelFileAndAComparison) {
  const TempDir dir;
  const std::vector<std::string> bench = {
      "bench",   ShippedModel(), "--prefill", "8", "--decode",      "2",
      "--batch", "none",         "--threads", "1", "--repetitions", "1"};
  auto json = bench;
  json.insert(json.end(), {"--json", "-q"});
  const Finished before = Mixtral(json);
  ASSERT_EQ(before.exit_code, 0) << before.err;
  EXPECT_EQ(before.err, "");
  WriteFile(dir / "before.json", before.out);
  auto compare = bench;
  compare.insert(compare.end(), {"--compare", dir / "before.json"});
  const Finished after = Mixtral(compare);
  EXPECT_EQ(after.exit_code, 0) << after.err;
  EXPECT_NE(after.out.find("compared with"), std::string::npos);
  EXPECT_NE(after.out.find("noise"), std::string::npos);  // one repetition has no interval
  EXPECT_EQ(after.out.find("not the same"), std::string::npos) << after.out;
  WriteFile(dir / "other.json", "{\"figures\": []}");
  compare.back() = dir / "other.json";
  EXPECT_EQ(RefusalProblem(Mixtral(compare), 2, "ceilings"), "");
}

TEST(E2eInfo, MemoryAndSpeedHere) {
  const Finished run = Mixtral({"info", ShippedModel(), "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json memory = Json::Parse(run.out, "out").At("memory");
  EXPECT_GT(memory.At("available").AsInt(), 0);
  EXPECT_GT(memory.At("read_gb_per_s").AsDouble(), 0);
  const Json context = memory.At("contexts").At(1);
  EXPECT_EQ(context.At("positions").AsInt(), 8192);
  EXPECT_EQ(context.At("kv").At("F16").AsInt(), 8192 * 1024);  // 4 layers x 2 heads x 2 x 32 x f16
  EXPECT_TRUE(context.At("beyond_model").AsBool());
  EXPECT_GT(context.At("decode_tokens_per_s").AsDouble(), 0);
  const Finished text = Mixtral({"info", ShippedModel(), "--no-measure"});
  EXPECT_NE(text.out.find("fits here"), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("GB/s"), std::string::npos) << text.out;
}

TEST(E2eBench, WrongCommandLinesSayWhatIsMeant) {
  const TempDir dir;
  const auto problem = [](const std::vector<std::string>& arguments, const std::string& text) {
    return RefusalProblem(Mixtral(arguments), 1, text);
  };
  EXPECT_EQ(problem({"bench", "--shape", "mixtral-8x7"}, "did you mean 'mixtral-8x7b'?"), "");
  EXPECT_EQ(problem({"bench", "--shape", "tiny", "--type", "q4k"}, "did you mean 'q4_k'?"), "");
  EXPECT_EQ(problem({"bench"}, "expected either PATH or --shape, found neither"), "");
  EXPECT_EQ(problem({"bench", "x", "--shape", "tiny"}, "found both"), "");
  EXPECT_EQ(problem({"bench", "x", "--layers", "2"}, "--layers needs --shape"), "");
  EXPECT_EQ(problem(Bench(dir, {"--depth", "1,x"}), "--depth: expected an integer"), "");
  EXPECT_EQ(problem({"bench", "x", "--prefill", "none", "--decode", "0"}, "something to measure"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral({"bench", dir / "no.gguf"}), 2, "no.gguf"), "");
  EXPECT_EQ(RefusalProblem(Mixtral(Bench(dir, {"--depth", "32768", "-q"})), 2,
                           "expected at most 32768 positions (the model's context)"),
            "");
}

TEST(E2eBench, CtrlCLeavesNothingHalfDone) {
  const TempDir dir;
  // A gigabyte to write; the file is there, under its temporary name, from the first byte on.
  StalledChild child(
      {"bench", "--shape", "mixtral-8x7b", "--layers", "1", "--cache-dir", dir.path(), "--json"});
  const std::string folder = dir / "tmp";
  for (int i = 0; i < 3000 && !(std::filesystem::exists(folder) && FilesIn(folder) > 0); ++i)
    usleep(10000);
  child.Send(SIGINT);
  const Finished run = child.Finish();
  EXPECT_EQ(run.exit_code, 130) << run.err;
  EXPECT_EQ(FilesIn(folder), 0u);
}

}  // namespace
}  // namespace mixtral::testing
