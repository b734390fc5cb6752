// SPDX-License-Identifier: Apache-2.0
// mixtral routing, its replay and its ablation, and --routing of the commands that generate, on the
// model that ships.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "base/json.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

constexpr const char* kText =
    "Click the button to open the document. The menu shows the commands of the document.\n";

Finished Routing(std::vector<std::string> more) {
  more.insert(more.begin(), "routing");
  return Mixtral(more);
}

TEST(E2eRouting, ReportOfATextInAllForms) {
  const TempDir dir;
  WriteFile(dir / "en.txt", kText);
  WriteFile(dir / "rows.jsonl",
            "{\"text\":\"Der Befehl steht im Men\xC3\xBC Format.\",\"domain\":\"de\"}\n"
            "{\"text\":\"12 + 30 = 42\",\"domain\":\"math\"}\n");
  const Finished run =
      Routing({ShippedModel(), "-d", "en=" + (dir / "en.txt"), "-d", "rows=" + (dir / "rows.jsonl"),
               "--domain-field", "domain", "-o", dir / "out", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json report = Json::Parse(run.out, "json");
  EXPECT_EQ(report.At("model").At("n_experts").AsInt(), 8);
  ASSERT_EQ(report.At("domains").Size(), 3u);
  EXPECT_EQ(report.At("domains").At(1).At("name").AsString(), "de");
  EXPECT_NEAR(report.At("baselines").At("any").AsDouble(), 13.0 / 28, 1e-5);
  double sum = 0;
  for (size_t e = 0; e < 8; ++e)
    sum += report.At("all").At("layers").At(3).At("shares").At(e).AsDouble();
  EXPECT_NEAR(sum, 1, 1e-4);
  EXPECT_EQ(ReadFile(dir / "out/report.json"), run.out);
  for (const char* name : {"routing.html", "shares.csv", "repetition.csv", "together.csv",
                           "similarity.csv", "drift.csv", "tokens.csv"})
    EXPECT_GT(ReadFile(dir / ("out/" + std::string(name))).size(), 30u) << name;

  // The trace says the same without the model, also against itself.
  const Finished again = Routing({dir / "out/trace.mxroute", "--json"});
  EXPECT_EQ(again.out, run.out);
  const Finished table =
      Routing({dir / "out/trace.mxroute", "--against", dir / "out/trace.mxroute"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_NE(table.out.find("100.0"), std::string::npos);
}

TEST(E2eRouting, LimitAndTopK) {
  const TempDir dir;
  WriteFile(dir / "en.txt", kText);
  const auto report = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {ShippedModel(), "-d", "en=" + (dir / "en.txt"), "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished run = Routing(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return Json::Parse(run.out, "json");
  };
  EXPECT_EQ(report({"--limit", "9"}).At("tokens").AsInt(), 9);
  EXPECT_GT(report({"--ctx", "8"}).At("domains").At(size_t{0}).At("sequences").AsInt(), 1);
  const Json one = report({"--experts-per-token", "1"}).At("all").At("layers").At(size_t{0});
  EXPECT_EQ(one.At("first").At(size_t{0}).AsDouble(), one.At("any").At(size_t{0}).AsDouble());
  EXPECT_EQ(one.At("first_weight").AsDouble(), 1);
}

TEST(E2eRouting, RunRecordsAndReplayReads) {
  const TempDir dir;
  const std::string trace = dir / "run.mxroute";
  const Finished run = Mixtral({"run", ShippedModel(), "-p", "The document", "-n", "12",
                                "--ignore-eos", "--seed", "3", "--routing", trace});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Finished plain = Mixtral(
      {"run", ShippedModel(), "-p", "The document", "-n", "12", "--ignore-eos", "--seed", "3"});
  EXPECT_EQ(plain.out, run.out);
  const int64_t n_prompt =
      std::ssize(ParseIds(Mixtral({"tokenize", ShippedModel(), "--bos", "The document"}).out));
  const Json report = Json::Parse(Routing({trace, "--json"}).out, "json");
  EXPECT_EQ(report.At("tokens").AsInt(), n_prompt + 11);  // the last one was never computed
  const Finished replay = Routing({"replay", trace, "--cache", "8", "--json"});
  ASSERT_EQ(replay.exit_code, 0) << replay.err;
  const Json row = Json::Parse(replay.out, "json").At("caches").At(size_t{0});
  EXPECT_LE(row.At("policies").At("lru").At("hit_rate").AsDouble(),
            row.At("policies").At("oracle").At("hit_rate").AsDouble());
  EXPECT_EQ(Routing({"replay", trace, "-o", dir / "replay.html"}).exit_code, 0);
  EXPECT_NE(ReadFile(dir / "replay.html").find("<svg"), std::string::npos);
}

TEST(E2eRouting, ChatRecordsEveryAnswer) {
  const TempDir dir;
  const Finished chat = Mixtral({"chat", ShippedModel(), "-n", "4", "--ignore-eos", "--chat-format",
                                 "chatml", "--routing", dir / "chat.mxroute"},
                                "Hello\nAnd you?\n");
  ASSERT_EQ(chat.exit_code, 0) << chat.err;
  const Json report = Json::Parse(Routing({dir / "chat.mxroute", "--json"}).out, "json");
  EXPECT_EQ(report.At("domains").At(size_t{0}).At("name").AsString(), "chat");
  EXPECT_EQ(report.At("domains").At(size_t{0}).At("sequences").AsInt(), 2);
}

TEST(E2eRouting, CtrlCKeepsWhatIsThere) {
  const TempDir dir;
  StalledChild child({"run", ShippedModel(), "-p", "The", "-n", "500", "--ignore-eos", "--routing",
                      dir / "cut.mxroute"});
  ASSERT_TRUE(child.WaitUntilStalled());
  child.Send(SIGINT);
  EXPECT_EQ(child.Finish().exit_code, 130);
  const Finished report = Routing({dir / "cut.mxroute", "--json"});
  ASSERT_EQ(report.exit_code, 0) << report.err;
  EXPECT_GT(Json::Parse(report.out, "json").At("tokens").AsInt(), 1);
}

TEST(E2eRouting, BannedAndForcedExpertsAreObeyed) {
  const TempDir dir;
  const auto shares = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "run", ShippedModel(), "-p", "The document", "-n", "6", "--routing", dir / "t.mxroute"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished run = Mixtral(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return Json::Parse(Routing({dir / "t.mxroute", "--json"}).out, "json").At("all").At("layers");
  };
  const Json banned = shares({"--ban-expert", "2", "--ban-expert", "5"});
  const Json forced = shares({"--force-expert", "7"});
  for (size_t l = 0; l < 4; ++l) {
    EXPECT_EQ(banned.At(l).At("shares").At(2).AsDouble(), 0);
    EXPECT_EQ(banned.At(l).At("shares").At(5).AsDouble(), 0);
    EXPECT_EQ(forced.At(l).At("shares").At(7).AsDouble(), 0.5);
  }
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-p", "x", "--ban-expert", "8"}), 2,
                           "ban[0]: expected an expert in 0..7, found 8"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-p", "x", "--ban-expert", "two"}), 1,
                           "--ban-expert: expected an integer"),
            "");
}

TEST(E2eRouting, AblationOfEveryExpertAndTopK) {
  const TempDir dir;
  std::string text;
  for (int i = 0; i < 6; ++i) text += kText;
  WriteFile(dir / "en.txt", text);
  const Finished run = Routing({"ablate", ShippedModel(), "-f", dir / "en.txt", "--limit", "60",
                                "--max-k", "3", "--json", "-q", "-o", dir / "ablation.html"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json report = Json::Parse(run.out, "json");
  EXPECT_EQ(report.At("without_expert").Size(), 8u);
  ASSERT_EQ(report.At("top_k").Size(), 3u);
  // Two experts a token are the model's own.
  EXPECT_EQ(report.At("top_k").At(1).At("loss_difference").AsDouble(), 0);
  EXPECT_EQ(report.At("top_k").At(1).At("perplexity").AsDouble(),
            report.At("perplexity").AsDouble());
  EXPECT_NE(report.At("top_k").At(size_t{0}).At("loss_difference").AsDouble(), 0);
  EXPECT_NE(report.At("without_expert").At(size_t{0}).At("loss_difference").AsDouble(), 0);
  EXPECT_NE(ReadFile(dir / "ablation.html").find("Quality against speed"), std::string::npos);
}

TEST(E2eRouting, WrongInputIsOneLine) {
  const TempDir dir;
  WriteFile(dir / "empty.txt", "");
  WriteFile(dir / "not.mxroute", "MXROUTE\nnonsense");
  WriteFile(dir / "rows.jsonl", "{\"text\":\"a\"}\n");
  const std::string model = ShippedModel();
  const auto refusal = [](const std::vector<std::string>& arguments, int code,
                          const std::string& text) {
    return RefusalProblem(Routing(arguments), code, text);
  };
  EXPECT_EQ(refusal({model}, 1, "expected --data DOMAIN=FILES"), "");
  EXPECT_EQ(refusal({model, "-q", "-d", "en=" + (dir / "empty.txt")}, 2, "expected text"), "");
  EXPECT_EQ(refusal({model, "-q", "-d", "en=" + (dir / "none.txt")}, 2, "none.txt"), "");
  EXPECT_EQ(refusal({dir / "not.mxroute"}, 2, "version"), "");
  EXPECT_EQ(refusal({"replay", dir / "empty.txt"}, 2, "magic"), "");
  EXPECT_EQ(refusal({model, "-q", "-d", "r=" + (dir / "rows.jsonl"), "--domain-field", "domain"}, 2,
                    "rows.jsonl:1"),
            "");
  EXPECT_EQ(refusal({"ablate", model}, 1, "expected -f TEXT"), "");
  EXPECT_EQ(refusal({"replya"}, 1, "did you mean 'replay'"), "");
  EXPECT_EQ(refusal({"replay", dir / "not.mxroute", "--ram", "x"}, 1, "--ram"), "");
}

}  // namespace
}  // namespace mixtral::testing
