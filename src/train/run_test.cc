// SPDX-License-Identifier: Apache-2.0
// Whole runs through the program, as a user starts it: resuming to the bit, kill -9, several
// processes, fine-tuning, preferences, adapters, upcycling, bad input.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/strings.h"
#include "train/test_shards.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

using Environment = std::map<std::string, std::string>;

/// Starts mixtral-train; its output goes to log. -> process id
pid_t Start(const std::vector<std::string>& arguments, const std::string& log,
            const Environment& environment = {}) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
  ::setenv("OMP_NUM_THREADS", "1", 1);
  if (std::freopen(log.c_str(), "wb", stderr) == nullptr) std::_Exit(99);
  std::vector<char*> argv = {const_cast<char*>(MIXTRAL_TRAIN_BINARY)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(MIXTRAL_TRAIN_BINARY, argv.data());
  std::_Exit(98);
}

/// Exit code; 1000 + signal when killed.
int Wait(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

class TrainRun : public ::testing::Test {
 protected:
  TrainRun() : folder_(::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    WriteTextShards(folder_ / "text");
  }

  /// Settings of a model that trains in a second.
  std::vector<std::string> Arguments(const std::string& command, const std::string& out,
                                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {command};
    const std::map<std::string, std::string> settings = {{"--data", folder_ / "text"},
                                                         {"--out", folder_ / out},
                                                         {"--dim", "16"},
                                                         {"--layers", "2"},
                                                         {"--heads", "4"},
                                                         {"--kv-heads", "2"},
                                                         {"--head-dim", "4"},
                                                         {"--ffn-dim", "24"},
                                                         {"--experts", "4"},
                                                         {"--sequence-length", "24"},
                                                         {"--batch", "8"},
                                                         {"--micro-batch", "4"},
                                                         {"--steps", "10"},
                                                         {"--save-every", "5"},
                                                         {"--eval-every", "5"},
                                                         {"--lr", "0.01"},
                                                         {"--warmup", "2"},
                                                         {"--log-every", "5"},
                                                         {"--threads", "1"}};
    for (const auto& [name, value] : settings) {
      if (std::find(more.begin(), more.end(), name) != more.end()) continue;
      all.push_back(name);
      all.push_back(value);
    }
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  int Run(const std::vector<std::string>& arguments, const Environment& environment = {}) const {
    return Wait(Start(arguments, folder_ / "log", environment));
  }

  std::string Log(const std::string& name = "log") const { return ReadTextFile(folder_ / name); }

  /// Starts n ranks and waits for all of them; their exit codes.
  std::vector<int> RunRanks(int n, const std::vector<std::string>& arguments) const {
    std::vector<int> codes;
    for (const pid_t pid : StartRanks(n, arguments)) codes.push_back(Wait(pid));
    return codes;
  }

  std::vector<pid_t> StartRanks(int n, const std::vector<std::string>& arguments) const {
    std::vector<pid_t> pids;
    const std::string port = std::to_string(10000 + ::getpid() * 8 % 20000 + n);
    for (int rank = 0; rank < n; ++rank)
      pids.push_back(Start(arguments, folder_ / fmt::format("log{}", rank),
                           {{"RANK", std::to_string(rank)},
                            {"WORLD_SIZE", std::to_string(n)},
                            {"MASTER_ADDR", "127.0.0.1"},
                            {"MASTER_PORT", port}}));
    return pids;
  }

  /// A number of every training step.
  std::vector<double> Curve(const std::string& out, const std::string& key = "loss") const {
    std::vector<double> curve;
    const std::string text = ReadTextFile(folder_ / (out + "/metrics.jsonl"));
    for (const std::string_view line : Split(text, '\n')) {
      if (line.empty()) continue;
      const Json json = Json::Parse(line, "metrics");
      if (json.Find(key)) curve.push_back(json.At(key).AsDouble());
    }
    return curve;
  }

  std::string File(const std::string& name) const { return ReadTextFile(folder_ / name); }

  TestFolder folder_;
};

constexpr const char* kLast = "/checkpoints/step-00000010/";

void ExpectSameCurve(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-4) << "step " << i + 1;
}

TEST_F(TrainRun, LearnsAndExportsWhatTheReaderOpens) {
  ASSERT_EQ(Run(Arguments("train", "run", {"--steps", "60", "--export-type", "bf16"})), 0) << Log();
  const std::vector<double> loss = Curve("run", "ce");
  ASSERT_EQ(loss.size(), 60U);
  EXPECT_LT(loss.back(), loss.front() - 1.0);
  for (const double dropped : Curve("run", "dropped")) EXPECT_EQ(dropped, 0);
  const OpenedCheckpoint exported = OpenForTraining(folder_ / "run/export");
  EXPECT_EQ(exported.config.n_experts, 4);
  EXPECT_EQ(exported.file->Find("model.layers.1.block_sparse_moe.experts.3.w2.weight")->dtype,
            DType::kBF16);
  EXPECT_TRUE(exported.file->sentencepiece_model().has_value());
  EXPECT_NE(Log().find("held-out loss  en"), std::string::npos);
  size_t n_checkpoints = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "run/checkpoints"))
    n_checkpoints += entry.exists() ? 1 : 0;
  EXPECT_EQ(n_checkpoints, 2U);  // keep
}

TEST_F(TrainRun, ResumesToTheBit) {
  const std::vector<std::string> noise = {"--jitter", "0.1",          "--bias-rate",
                                          "0.01",     "--bias-until", "1"};
  ASSERT_EQ(Run(Arguments("train", "whole", noise)), 0) << Log();
  // Killed for good between steps 5 and 10: the checkpoint of step 5 is what is left.
  std::filesystem::copy(folder_ / "whole", folder_ / "cut",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(folder_ / "cut/checkpoints/step-00000010");
  std::filesystem::remove_all(folder_ / "cut/export");
  ASSERT_EQ(Run(Arguments("train", "cut", noise)), 0) << Log();
  EXPECT_NE(Log().find("going on from"), std::string::npos);
  for (const char* name :
       {"model.safetensors", "optimizer-1-of-1.safetensors", "trainer_state.json"})
    EXPECT_EQ(File(std::string("whole") + kLast + name), File(std::string("cut") + kLast + name))
        << name;
  EXPECT_EQ(Curve("whole"), Curve("cut"));
}

TEST_F(TrainRun, KillAtAnyMomentLosesNoCheckpoint) {
  const std::vector<std::string> arguments =
      Arguments("train", "run", {"--steps", "40", "--save-every", "1", "--eval-every", "0"});
  ASSERT_EQ(Run(Arguments("train", "whole",
                          {"--steps", "40", "--save-every", "40", "--eval-every", "0"})),
            0)
      << Log();
  int n_kills = 0;
  for (int code = -1; code != 0;) {
    const pid_t pid = Start(arguments, folder_ / "log");
    if (n_kills < 4) {  // when the next checkpoint has appeared, whatever else is going on then
      const std::string awaited =
          folder_ / fmt::format("run/checkpoints/step-{:08}", 3 + 7 * n_kills);
      while (!std::filesystem::exists(awaited) && ::waitpid(pid, nullptr, WNOHANG) == 0)
        ::usleep(1000);
      ::kill(pid, SIGKILL);
      ++n_kills;
      Wait(pid);
    } else {
      code = Wait(pid);
      ASSERT_EQ(code, 0) << Log();
    }
  }
  const std::string last = "/checkpoints/step-00000040/model.safetensors";
  EXPECT_EQ(File("run" + last), File("whole" + last));
  EXPECT_EQ(Curve("run"), Curve("whole"));
}

/// Killed when the export's folder appears, finished or not: the next start makes it whole.
TEST_F(TrainRun, KillInExport) {
  const std::vector<std::string> arguments = Arguments("train", "run");
  ASSERT_EQ(Run(Arguments("train", "whole")), 0) << Log();
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = Start(arguments, folder_ / "log");
    while (!std::filesystem::exists(folder_ / "run/export.tmp") &&
           !std::filesystem::exists(folder_ / "run/export") &&
           ::waitpid(pid, nullptr, WNOHANG) == 0)
      ::usleep(100);
    ::kill(pid, SIGKILL);
    Wait(pid);
    if (std::filesystem::exists(folder_ / "run/export")) {
      EXPECT_EQ(File("run/export/model.safetensors"), File("whole/export/model.safetensors"));
    }
    std::filesystem::remove_all(folder_ / "run/export");
    // What a kill in the middle of writing leaves, wherever this one hit.
    std::filesystem::create_directories(folder_ / "run/export.tmp");
    WriteRaw(folder_ / "run/export.tmp/model.safetensors", "half", 4);
  }
  ASSERT_EQ(Run(arguments), 0) << Log();
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.model"})
    EXPECT_EQ(File(std::string("run/export/") + name), File(std::string("whole/export/") + name));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/export.tmp"));
}

TEST_F(TrainRun, TwoAndFourProcessesHaveTheCurveOfOne) {
  ASSERT_EQ(Run(Arguments("train", "one")), 0) << Log();
  for (const int n : {2, 4}) {
    const std::string out = fmt::format("of{}", n);
    EXPECT_EQ(RunRanks(n, Arguments("train", out)), std::vector<int>(static_cast<size_t>(n), 0))
        << Log("log0") << Log("log1");
    ExpectSameCurve(Curve("one"), Curve(out));
    ExpectSameCurve(Curve("one", "balance"), Curve(out, "balance"));
  }
}

TEST_F(TrainRun, ExpertsSpreadOverProcessesHaveTheCurveOfOne) {
  ASSERT_EQ(Run(Arguments("train", "one")), 0) << Log();
  for (const auto& [n, experts] : {std::pair(2, "2"), std::pair(4, "2"), std::pair(4, "4")}) {
    const std::string out = fmt::format("of{}x{}", n, experts);
    EXPECT_EQ(RunRanks(n, Arguments("train", out, {"--expert-parallel", experts})),
              std::vector<int>(static_cast<size_t>(n), 0))
        << Log("log0") << Log("log1");
    ExpectSameCurve(Curve("one"), Curve(out));
    const OpenedCheckpoint exported = OpenForTraining(folder_ / (out + "/export"));
    Model model(exported.config);
    LoadWeights(*exported.file, &model, BaseStorage::kTrainable);
  }
}

// PEERS 25: a rank (and an expert) without a single token.
TEST_F(TrainRun, RanksWithoutTokensDoNotHang) {
  ASSERT_EQ(Run(Arguments("train", "one", {"--batch", "2"})), 0) << Log();
  for (const char* experts : {"1", "4"}) {
    const std::string out = std::string("of4x") + experts;
    EXPECT_EQ(RunRanks(4, Arguments("train", out, {"--batch", "2", "--expert-parallel", experts})),
              std::vector<int>(4, 0))
        << Log("log0") << Log("log3");
    ExpectSameCurve(Curve("one"), Curve(out));
  }
}

TEST_F(TrainRun, AKilledRankEndsTheJobWithAClearLineAndItResumes) {
  const std::vector<std::string> arguments =
      Arguments("train", "run", {"--steps", "4000", "--save-every", "5", "--eval-every", "0"});
  const std::vector<pid_t> pids = StartRanks(2, arguments);
  while (!std::filesystem::exists(folder_ / "run/checkpoints/step-00000005") &&
         ::waitpid(pids[0], nullptr, WNOHANG) == 0)
    ::usleep(1000);
  ::kill(pids[1], SIGKILL);
  EXPECT_EQ(Wait(pids[1]), 1000 + SIGKILL);
  EXPECT_EQ(Wait(pids[0]), 2);
  EXPECT_NE(Log("log0").find("rank 0: "), std::string::npos) << Log("log0");
  EXPECT_NE(Log("log0").find("one gone or stuck"), std::string::npos) << Log("log0");
  const size_t n_before = Curve("run").size();
  ASSERT_GE(n_before, 5U);
  const std::string steps = std::to_string(n_before + 5);
  EXPECT_EQ(RunRanks(2, Arguments("train", "run", {"--steps", steps, "--eval-every", "0"})),
            std::vector<int>(2, 0))
      << Log("log0");
  EXPECT_EQ(Curve("run").size(), n_before + 5);
}

TEST_F(TrainRun, InterruptSavesFirst) {
  const pid_t pid = Start(
      Arguments("train", "run", {"--steps", "100000", "--save-every", "100000"}), folder_ / "log");
  while (!std::filesystem::exists(folder_ / "run/metrics.jsonl") &&
         ::waitpid(pid, nullptr, WNOHANG) == 0)
    ::usleep(1000);
  ::kill(pid, SIGINT);
  EXPECT_EQ(Wait(pid), 130) << Log();
  EXPECT_FALSE(std::filesystem::is_empty(folder_ / "run/checkpoints"));
}

TEST_F(TrainRun, ChatsThenPreferencesThenAdapters) {
  ASSERT_EQ(Run(Arguments("train", "base")), 0) << Log();
  WriteShards(folder_ / "chats", "sft", 64,
              {{"s", "en", "train", "", MakeDocuments(20, 14, 21, true)},
               {"h", "en", "heldout", "", MakeDocuments(3, 14, 22, true)}});
  std::vector<Document> better = MakeDocuments(20, 14, 23, true), worse = better;
  for (Document& document : worse) {
    for (size_t t = 0; t < document.tokens.size(); ++t)
      if (document.loss[t] != 0) document.tokens[t] = 3 + static_cast<int>(t * 7 % 60);
  }
  WriteShards(folder_ / "pairs", "preference", 64,
              {{"c", "en", "train", "chosen", better},
               {"r", "en", "train", "rejected", worse},
               {"hc", "en", "heldout", "chosen", better},
               {"hr", "en", "heldout", "rejected", worse}});
  const std::string base = folder_ / "base/export";
  ASSERT_EQ(Run(Arguments("sft", "sft", {"--from", base, "--data", folder_ / "chats"})), 0)
      << Log();
  EXPECT_LT(Curve("sft", "ce").back(), Curve("sft", "ce").front());
  for (const std::string router : {"trained", "frozen", "reference"}) {
    ASSERT_EQ(Run(Arguments("dpo", router,
                            {"--from", folder_ / "sft/export", "--data", folder_ / "pairs",
                             "--router", router, "--lr", "0.003", "--steps", "20"})),
              0)
        << Log();
    EXPECT_GT(Curve(router, "margin").back(), 0.01) << router;
    EXPECT_EQ(Curve(router, "accuracy").back(), 1.0) << router;
  }
  const auto router_of = [&](const std::string& run) {
    const OpenedCheckpoint opened = OpenForTraining(folder_ / (run + "/export"));
    const auto bytes = opened.file->Find("model.layers.0.block_sparse_moe.gate.weight")->bytes;
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  EXPECT_EQ(router_of("frozen"), router_of("sft"));
  EXPECT_NE(router_of("trained"), router_of("sft"));
  const std::vector<std::string> lora = {"--from",      base,   "--data",         folder_ / "chats",
                                         "--lora-rank", "2",    "--lora-targets", "q,experts",
                                         "--lr",        "0.01", "--lora-alpha",   "4"};
  ASSERT_EQ(Run(Arguments("sft", "lora", lora)), 0) << Log();
  EXPECT_LT(Curve("lora", "ce").back(), Curve("lora", "ce").front());
  std::filesystem::copy(folder_ / "lora", folder_ / "lora2",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(folder_ / "lora2/checkpoints/step-00000010");
  ASSERT_EQ(Run(Arguments("sft", "lora2", lora)), 0) << Log();
  EXPECT_EQ(File(std::string("lora") + kLast + "model.safetensors"),
            File(std::string("lora2") + kLast + "model.safetensors"));
}

TEST_F(TrainRun, UpcyclesADenseModel) {
  ASSERT_EQ(Run(Arguments("train", "dense", {"--experts", "0", "--steps", "30"})), 0) << Log();
  ASSERT_EQ(Run(Arguments("train", "mixture",
                          {"--upcycle", folder_ / "dense/export", "--upcycle-noise", "0", "--steps",
                           "1", "--lr", "0"})),
            0)
      << Log();
  // Copies of one feed-forward part with weights that sum to 1: the dense model's own loss.
  const std::vector<double> dense = Curve("dense", "ce");
  EXPECT_LT(Curve("mixture", "ce")[0], dense.front() - 0.5);
  const OpenedCheckpoint exported = OpenForTraining(folder_ / "mixture/export");
  EXPECT_EQ(exported.config.n_experts, 4);
}

TEST_F(TrainRun, BadInputIsOneLine) {
  const auto refused = [&](const std::vector<std::string>& more, const std::string& expected) {
    EXPECT_EQ(Run(Arguments("train", "bad", more)), 2);
    const std::string log = Log();
    EXPECT_NE(log.find(expected), std::string::npos) << log;
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  };
  refused({"--data", folder_ / "nowhere"}, "shards.json");
  refused({"--from", folder_ / "nowhere"}, "nowhere");
  refused({"--heads", "3"}, "n_kv_heads");
  refused({"--expert-parallel", "2"}, "WORLD_SIZE");
  refused({"--experts", "2", "--experts-per-token", "3"}, "experts_per_token");
  refused({"--weights", "fr=1"}, "expected a domain of the data (de, en), found 'fr'");
  EXPECT_EQ(Run(Arguments("sft", "bad")), 2);
  EXPECT_NE(Log().find("expected shards of kind sft"), std::string::npos) << Log();
  EXPECT_EQ(Run({"fly"}), 1);
  EXPECT_EQ(Run(Arguments("train", "bad"), {{"WORLD_SIZE", "x"}}), 2);
  EXPECT_EQ(Run(Arguments("train", "bad"), {{"WORLD_SIZE", "2"}, {"RANK", "0"}}), 2);
  const std::string tokens = folder_ / "text/en-train-0.bin";
  std::string bytes = ReadTextFile(tokens);
  bytes[2] = static_cast<char>(bytes[2] ^ 1);
  WriteRaw(tokens, bytes.data(), bytes.size());
  refused({}, "sha256: expected");
  EXPECT_EQ(Run(Arguments("train", "unverified", {"--verify-data", "false"})), 0) << Log();
}

}  // namespace
}  // namespace mixtral::train
