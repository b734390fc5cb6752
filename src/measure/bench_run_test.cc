// SPDX-License-Identifier: Apache-2.0
// A whole bench on the tiny shape: the file, the figures, the object, and two of them compared.
#include "measure/bench_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "measure/bench_engine.h"
#include "measure/bench_json.h"
#include "measure/random_model.h"
#include "spec/presets.h"

namespace mixtral {
namespace {

class BenchTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("bench_run_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path() const { return (folder_ / "tiny.gguf").string(); }
  std::unique_ptr<Checkpoint> Tiny(DType type, std::string_view shape = "tiny") const {
    const RandomModel model = {.name = "tiny", .config = PresetConfig(shape), .type = type};
    EXPECT_TRUE(WriteRandomModel(model, Path(), [](uint64_t, uint64_t) { return true; }));
    EXPECT_EQ(std::filesystem::file_size(Path()), RandomModelBytes(model));
    return OpenCheckpoint(Path());
  }
  std::filesystem::path folder_;
};

BenchPlan SmallPlan() {
  BenchPlan plan;
  plan.prefill = {40, 8};
  plan.batches = {4};
  plan.depths = {200};
  plan.threads = {1, 2};
  plan.decode_tokens = 4;
  plan.repetitions = 3;
  return plan;
}

TEST_F(BenchTest, AFileOfEveryTypeLoadsAndRoutesEvenly) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ2_K, DType::kIQ4_XS}) {
    const auto checkpoint = Tiny(type);
    EXPECT_EQ(ReadConfig(*checkpoint).config.TotalParameters(),
              PresetConfig("tiny").TotalParameters());
    BenchEngine engine(*checkpoint, {.threads = 1, .max_rows = 256, .n_positions = 512});
    EXPECT_EQ(engine.weight_type(), type);
    const auto sample = engine.Prefill(500, 0, 1);
    ASSERT_TRUE(sample.has_value());
    EXPECT_EQ(sample->tokens, 500);
    EXPECT_GT(sample->seconds, 0);
    EXPECT_LT(engine.MaxOverMean(), 1.6) << Name(type);  // of 8 experts; all to two would be 4
  }
}

TEST_F(BenchTest, BytesAreThoseOfTheExpertsTouched) {
  const auto checkpoint = Tiny(DType::kQ8_0);
  BenchEngine engine(*checkpoint, {.threads = 1, .max_sequences = 1, .n_positions = 256});
  const auto sample = engine.Decode(1, 2, 128, 1, Counting::kOn);
  ASSERT_TRUE(sample.has_value());
  const ModelCost& cost = engine.cost();
  StepCost expected = {2 * (cost.SharedBytes() + 2 * 2 * cost.ExpertBytes(0, 0)),
                       2 * cost.OpsPerToken()};  // 2 steps; 2 layers, 2 experts each
  for (const int64_t position : {128, 129}) expected += cost.Attention(position, 1);
  expected += cost.Logits(1);
  expected += cost.Logits(1);
  EXPECT_EQ(sample->cost.bytes, expected.bytes);
  EXPECT_EQ(sample->cost.ops, expected.ops);
}

TEST_F(BenchTest, GivingUpLeavesNoFile) {
  const RandomModel model = {.name = "tiny", .config = PresetConfig("tiny"), .type = DType::kQ4_K};
  int calls = 0;
  EXPECT_FALSE(WriteRandomModel(model, Path(), [&](uint64_t done, uint64_t total) {
    EXPECT_LE(done, total);
    return ++calls < 5;
  }));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(BenchTest, EveryFigureOfThePlan) {
  const auto checkpoint = Tiny(DType::kQ4_K);
  const BenchPlan plan = SmallPlan();
  int last = -1;
  const auto result = RunBench(*checkpoint, plan, nullptr, [&](std::string_view, int done, int) {
    EXPECT_EQ(done, last + 1);
    last = done;
  });
  ASSERT_TRUE(result.has_value());
  std::set<std::string> names;
  for (const Figure& figure : result->figures) {
    names.insert(figure.name);
    EXPECT_EQ(figure.value.n, 3) << figure.name;
    if (figure.unit != "tokens/s") continue;
    EXPECT_GT(figure.value.min, 0) << figure.name;
    const bool all_threads = figure.name.find("threads") == std::string::npos;
    EXPECT_EQ(figure.cost.has_value(), all_threads) << figure.name;
  }
  EXPECT_EQ(names, (std::set<std::string>{"prefill_40", "prefill_8", "decode", "decode_batch_4",
                                          "decode_at_200", "prefill_40_at_200",
                                          "prefill_40_threads_1", "attention_in_prefill_40_at_200",
                                          "speedup_1_to_2_threads", "routing_statistics_cost"}));
  EXPECT_EQ(result->peak_name, "int8");

  const Json json = BenchToJson(*checkpoint, plan, *result);
  const Json parsed = Json::Parse(json.Dump(), "result");
  EXPECT_TRUE(DifferencesOf(parsed, json).empty());
  const auto same = CompareResults(parsed, json);
  EXPECT_EQ(same.size(), result->figures.size() + result->ceilings.size());
  for (const Comparison& c : same) EXPECT_EQ(c.verdict, Verdict::kNoise) << c.name;
  EXPECT_THROW(CompareResults(Json::Parse("{}", "x"), json), Error);
}

TEST_F(BenchTest, ADenseModelHasNoRoutingFigure) {
  ModelConfig config = PresetConfig("tiny");
  config.n_experts = config.experts_per_token = 0;
  const RandomModel model = {.name = "dense", .config = config, .type = DType::kF16};
  ASSERT_TRUE(WriteRandomModel(model, Path(), [](uint64_t, uint64_t) { return true; }));
  BenchPlan plan = SmallPlan();
  plan.depths = plan.batches = {};
  plan.threads = {1};
  plan.prefill = {8};
  const auto result =
      RunBench(*OpenCheckpoint(Path()), plan, nullptr, [](std::string_view, int, int) {});
  ASSERT_TRUE(result.has_value());
  ASSERT_EQ(result->figures.size(), 2u);
  EXPECT_EQ(result->figures[1].name, "decode");
  EXPECT_EQ(result->peak_name, "f32");
}

TEST_F(BenchTest, CancelledAndTooDeep) {
  const auto checkpoint = Tiny(DType::kQ4_K);
  BenchPlan plan = SmallPlan();
  const std::atomic<bool> cancel = true;
  EXPECT_FALSE(RunBench(*checkpoint, plan, &cancel, [](std::string_view, int, int) {}).has_value());
  plan.depths = {40000};
  EXPECT_THROW(RunBench(*checkpoint, plan, nullptr, [](std::string_view, int, int) {}), Error);
}

Json ResultWith(double median, double min, double max) {
  Json figure = Json::Object()
                    .Set("name", "decode")
                    .Set("unit", "tokens/s")
                    .Set("higher_is_better", true)
                    .Set("median", median)
                    .Set("min", min)
                    .Set("max", max)
                    .Set("n", 5);
  Json figures = Json::Array();
  figures.Push(std::move(figure));
  return Json::Object().Set("ceilings", Json::Array()).Set("figures", std::move(figures));
}

TEST(CompareResults, SaysBetterWorseOrNoise) {
  const Json before = ResultWith(10, 9, 11);
  EXPECT_EQ(CompareResults(before, ResultWith(13, 12, 14)).at(0).verdict, Verdict::kBetter);
  EXPECT_EQ(CompareResults(before, ResultWith(7, 6, 8)).at(0).verdict, Verdict::kWorse);
  EXPECT_EQ(CompareResults(before, ResultWith(10.5, 10, 12)).at(0).verdict, Verdict::kNoise);
}

}  // namespace
}  // namespace mixtral
