// SPDX-License-Identifier: Apache-2.0
// Event files read back, checksums, alarms of the router guard, FLOPs, and settings.
#include "train/run_log.h"

#include <gtest/gtest.h>

#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"
#include "train/test_shards.h"
#include "train/train_config.h"

namespace mixtral::train {
namespace {

TEST(EventFile, Crc32cOfTheStandardCheckString) {
  EXPECT_EQ(Crc32c(std::as_bytes(std::span(std::string_view("123456789")))), 0xE3069283U);
}

TEST(EventFile, IsReadBackAndDamageIsSeen) {
  const TestFolder folder("events");
  std::string path;
  {
    EventFile events(folder / ".");
    events.Add(7, 1.5, {{"loss", 2.5F}, {"lr", 1e-3F}});
    events.Add(300, 2.5, {{"loss", -1.0F}});
    path = events.path();
  }
  const std::vector<EventRecord> records = ReadEventFile(path);
  ASSERT_EQ(records.size(), 3U);  // the first says the format's version
  EXPECT_EQ(records[1].step, 7);
  EXPECT_EQ(records[1].scalars, (Scalars{{"loss", 2.5F}, {"lr", 1e-3F}}));
  EXPECT_EQ(records[2].step, 300);
  std::string text = ReadTextFile(path);
  text[text.size() - 10] ^= 1;
  WriteRaw(path, text.data(), text.size());
  EXPECT_THROW(ReadEventFile(path), Error);
}

TEST(RouterGuard, DeadExpertsAndCollapseAreRaisedOnce) {
  RouterGuard guard(3);
  const LoadTable bad = {{10, 10, 10, 0}, {40, 1, 0, 0}};
  EXPECT_TRUE(guard.Add(bad).empty());
  EXPECT_TRUE(guard.Add(bad).empty());
  const std::vector<std::string> alarms = guard.Add(bad);
  ASSERT_EQ(alarms.size(), 4U);
  EXPECT_NE(alarms[0].find("dead expert: layer 0 expert 3"), std::string::npos);
  EXPECT_NE(alarms[3].find("router collapse: the load of layer 1"), std::string::npos);
  EXPECT_EQ(guard.n_dead(), 3);
  EXPECT_TRUE(guard.Add(bad).empty());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(guard.Add({{5, 5, 5, 5}, {5, 5, 5, 5}}).empty());
  EXPECT_EQ(guard.n_dead(), 0);
}

TEST(Flops, OfTheShapeThatShips) {
  TrainConfig config;
  config.dim = 8;
  config.layers = 2;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 4;
  config.ffn_dim = 16;
  config.experts = 4;
  config.experts_per_token = 2;
  // By hand: attention 8*4*(4+2) = 192, scores 2*4*10 = 80, experts 2*3*8*16 = 768, router 32.
  EXPECT_DOUBLE_EQ(FlopsPerToken(config.Shape(100), 10), 6.0 * (2 * (192 + 80 + 768 + 32) + 800));
  config.experts = 0;
  EXPECT_GT(FlopsPerToken(config.Shape(100), 10), 0);
}

TEST(RunLog, DropsLinesAfterTheStepItGoesOnFrom) {
  const TestFolder folder("log");
  const std::string text = "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st";
  WriteRaw(folder / "metrics.jsonl", text.data(), text.size());
  const RunLog log(folder / ".", 2, 1000);
  EXPECT_EQ(ReadTextFile(folder / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n");
}

std::string Refusal(const std::vector<std::string>& arguments) {
  try {
    ReadTrainConfig(TaskKind::kPretrain, arguments);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TrainConfigTest, FlagsWinOverTheFile) {
  const TestFolder folder("config");
  const std::string text =
      "out: run\ndata: [a, b]\nlr: 1e-4\nweights: {en: 2, de: 0.5}\nsteps: 7\n";
  WriteRaw(folder / "c.yaml", text.data(), text.size());
  const std::vector<std::string> arguments = {folder / "c.yaml", "--steps", "9", "--micro-batch",
                                              "3"};
  const TrainConfig config = ReadTrainConfig(TaskKind::kPretrain, arguments);
  EXPECT_EQ(config.data, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.steps, 9);
  EXPECT_EQ(config.micro_batch, 3);
  EXPECT_EQ(config.weights.at("de"), 0.5);
  EXPECT_GT(config.balance_coef, 0);  // the default balances (PEERS 23)
  EXPECT_EQ(config.balance, "per_layer");
}

TEST(TrainConfigTest, BadSettingsAreOneClearLine) {
  const TestFolder folder("bad");
  const auto file = [&](const std::string& text) {
    WriteRaw(folder / "c.yaml", text.data(), text.size());
    return Refusal({folder / "c.yaml"});
  };
  EXPECT_NE(file("out: a\nstepss: 3\n").find("unknown setting 'stepss'; did you mean 'steps'?, in"),
            std::string::npos);
  EXPECT_NE(file("out: a\nstepss: 3\n").find("c.yaml:2"), std::string::npos);
  EXPECT_NE(file("lr: fast\n").find("lr: expected a number from 0 to 10, found 'fast'"),
            std::string::npos);
  EXPECT_NE(file("steps: 1.5\n").find("whole number"), std::string::npos);
  EXPECT_NE(file("schedule: step\n").find("expected cosine, wsd, constant"), std::string::npos);
  EXPECT_NE(file("a: [1\n").find("YAML"), std::string::npos);
  EXPECT_NE(file("- 1\n").find("YAML"), std::string::npos);
  EXPECT_NE(file("out: a\n").find("data: expected"), std::string::npos);
  EXPECT_NE(Refusal({"--out", "a", "--data", "d", "--qlora", "true"}).find("lora_rank"),
            std::string::npos);
  EXPECT_NE(Refusal({"--out"}).find("expected a value"), std::string::npos);
}

}  // namespace
}  // namespace mixtral::train
