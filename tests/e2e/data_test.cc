// SPDX-License-Identifier: Apache-2.0
// mixtral data: from files to shards and back to text, killed and resumed, and everything that can
// be wrong with input.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/json.h"
#include "base/rng.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

namespace fs = std::filesystem;

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// One of 3000 words of three syllables.
std::string Word(uint64_t idx) {
  std::string word;
  for (const uint64_t part : {idx / 240, idx / 15 % 16, idx % 15})
    word += {"bcdfghjklmnprstv"[part % 16], "aeiou"[part % 5]};
  return word;
}

std::string Rows(uint64_t seed, int n_rows, int n_words) {
  const CounterRng rng(seed);
  std::string rows;
  uint64_t at = 0;
  for (int i = 0; i < n_rows; ++i) {
    rows += "{\"text\": \"";
    for (int w = 0; w < n_words; ++w) rows += Word(rng.Bits(at++) % 3000) + " ";
    rows += "\"}\n";
  }
  return rows;
}

/// A folder with en.jsonl, fr.jsonl and a tokenizer made of them.
class E2eData : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteFile(dir_ / "en.jsonl", Rows(1, 200, 40));
    WriteFile(dir_ / "fr.jsonl", Rows(2, 100, 60));
    const Finished run = Mixtral({"data", "tokenizer", "--data", "en=" + (dir_ / "*.jsonl"),
                                  "--vocab-size", "300", "-o", dir_ / "tok"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_TRUE(Has(run.out, "tokenizer.model: 300 pieces")) << run.out;
  }

  std::vector<std::string> Prepare(const std::string& out,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"data",        "prepare",
                                          "--data",      "en=" + Path("en.jsonl"),
                                          "--data",      "fr=" + Path("fr.jsonl"),
                                          "--tokenizer", Path("tok"),
                                          "-o",          Path(out)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::string Path(const std::string& name) const { return dir_ / name; }
  std::map<std::string, std::string> Contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(Path(name)))
      files[entry.path().filename().string()] =
          entry.is_directory() ? "a folder" : ReadFile(entry.path().string());
    return files;
  }

  TempDir dir_;
};

TEST_F(E2eData, TextToShardsAndBack) {
  const Finished run = Mixtral(Prepare("out", {"--heldout", "0.1", "--json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json report = Json::Parse(run.out, "report");
  EXPECT_EQ(report.At("kind").AsString(), "text");
  const Json en = report.At("domains").At(0);
  EXPECT_EQ(en.At("domain").AsString(), "en");
  EXPECT_EQ(en.At("rows").AsInt(), 200);
  EXPECT_EQ(en.At("train").At("documents").AsInt() + en.At("heldout").At("documents").AsInt(), 200);
  EXPECT_EQ(Mixtral({"data", "report", Path("out"), "--verify", "--json"}).out, run.out);
  EXPECT_TRUE(Has(Mixtral({"data", "report", Path("out")}).out, "\nfr "));

  const Finished shown =
      Mixtral({"data", "inspect", Path("out"), "--shard", "en-train-00000", "--count", "1"});
  EXPECT_TRUE(Has(shown.out, "<s>" + Word(CounterRng(1).Bits(0) % 3000))) << shown.out;
  const std::string line = Mixtral({"data", "inspect", Path("out"), "--domain", "fr", "--document",
                                    "2", "--count", "1", "--json"})
                               .out;
  const Json document = Json::Parse(line.substr(0, line.find('\n')), "document");
  EXPECT_EQ(document.At("document").AsInt(), 2);
  EXPECT_EQ(document.At("tokens").At(0).AsInt(), 1);
  EXPECT_EQ(Mixtral(Prepare("out", {"--heldout", "0.1", "--json"})).out, run.out);
}

TEST_F(E2eData, TheSameForAnyNumberOfWorkersAndAfterKill) {
  WriteFile(Path("en.jsonl"), Rows(3, 40000, 30));  // several batches of 4 MiB
  ASSERT_EQ(Mixtral(Prepare("whole", {"--workers", "2"})).exit_code, 0);
  const auto whole = Contents("whole");
  const std::vector<std::string> arguments = Prepare("killed", {"--workers", "1"});
  const pid_t pid = fork();
  if (pid == 0) {
    std::vector<char*> argv = {const_cast<char*>(MIXTRAL_BINARY)};
    for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execv(MIXTRAL_BINARY, argv.data());
    _exit(127);
  }
  int status = 0;
  const std::string first = Path("killed") + "/work/batch-00000000";
  while (!fs::exists(first) && waitpid(pid, &status, WNOHANG) == 0) usleep(500);
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "it ended before it could be killed";
  EXPECT_FALSE(fs::exists(Path("killed") + "/shards.json"));
  EXPECT_EQ(RefusalProblem(Mixtral({"data", "report", Path("killed")}), 2, "an unfinished one"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral(Prepare("killed", {"--heldout", "0.5"})), 2, "other inputs"),
            "");
  ASSERT_EQ(Mixtral(arguments).exit_code, 0);
  EXPECT_EQ(Contents("killed"), whole);
}

TEST_F(E2eData, WrongRowsAreReportedAndFatalOnlyWhenStrict) {
  WriteFile(Path("fr.jsonl"), Rows(2, 3, 10) + "{\"txt\": 1}\nnot json\n\xFF\n" + Rows(4, 3, 10));
  const Finished run = Mixtral(Prepare("out", {"--json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* line : {"fr.jsonl:4: $.text", "fr.jsonl:5: ", "fr.jsonl:6: "})
    EXPECT_TRUE(Has(run.err, line)) << run.err;
  const Json report = Json::Parse(run.out, "report");
  EXPECT_EQ(report.At("domains").At(1).At("wrong").AsInt(), 3);
  EXPECT_EQ(report.At("wrong_rows").At(0).At("line").AsInt(), 4);
  EXPECT_EQ(RefusalProblem(Mixtral(Prepare("strict", {"--strict", "--workers", "1"})), 2,
                           "fr.jsonl:4: $.text"),
            "");
}

TEST_F(E2eData, BadArgumentsAndInputs) {
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  };
  WriteFile(Path("empty.jsonl"), "");
  WriteFile(Path("cut.jsonl.gz"), "\x1F\x8B\x08");
  const std::string tok = Path("tok"), out = Path("o"), en = "en=" + Path("en.jsonl");
  const auto prepare = [&](const std::string& data) -> std::vector<std::string> {
    return {"data", "prepare", "-d", data, "-t", tok, "-o", out, "--restart"};
  };
  const std::vector<Case> cases = {
      {{"data", "prepare"}, 1, "expected --data DOMAIN=FILES"},
      {{"data", "prepare", "-d", en}, 1, "expected --tokenizer PATH"},
      {{"data", "prepare", "-d", en, "-t", tok}, 1, "expected -o DIR"},
      {{"data", "prepare", "-d", en, "-t", tok, "-o", out, "--heldout", "2"}, 1, "--heldout"},
      {{"data", "prpare"}, 1, "did you mean 'prepare'?"},
      {prepare("english"), 2, "expected DOMAIN=FILES"},
      {prepare("en=" + Path("*.txt")), 2, "found none that match"},
      {prepare("en=" + Path("empty.jsonl")), 2, "no usable row"},
      {prepare("en=" + Path("cut.jsonl.gz")), 2, "cut.jsonl.gz: the gzip data ends in the middle"},
      {{"data", "prepare", "-d", en, "-t", Path("none"), "-o", out}, 2, "none"},
      {{"data", "prepare", "-d", en, "-t", dir_.path(), "-o", out}, 2, "found neither"},
      {{"data", "prepare", "-d", en, "-t", tok, "-o", tok}, 2, "expected an empty folder"},
      {{"data", "report", Path("none")}, 2, "found no folder"},
      {{"data", "inspect", dir_.path()}, 2, "a folder without it"},
      {{"data", "tokenizer", "-d", "en=" + Path("empty.jsonl"), "-o", out}, 2, "found none"},
      {{"data", "tokenizer", "-d", en, "--vocab-size", "90000", "-o", out}, 2, "cannot be trained"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(RefusalProblem(Mixtral(c.arguments), c.exit_code, c.message), "") << c.message;
}

TEST_F(E2eData, ChatsAndPairsWithTheirMasks) {
  WriteFile(
      Path("chat.jsonl"),
      R"({"messages": [{"role": "user", "content": "word1"}, {"role": "assistant", "content": "word2"}]})"
      "\n"
      R"({"conversations": [{"from": "human", "value": "word3"}, {"from": "gpt", "value": "word4"}]})"
      "\n"
      R"({"messages": [{"role": "user", "content": "alone"}]})"
      "\n");
  const Finished sft = Mixtral({"data", "sft", "-d", "chat=" + Path("chat.jsonl"), "-t",
                                Path("tok"), "-o", Path("sft"), "--heldout", "0", "--json"});
  ASSERT_EQ(sft.exit_code, 0) << sft.err;
  EXPECT_TRUE(Has(sft.err, "chat.jsonl:3: expected an assistant's message")) << sft.err;
  EXPECT_EQ(Json::Parse(sft.out, "report").At("chat_format").AsString(), "mistral-v1");
  const Finished shown = Mixtral({"data", "inspect", Path("sft")});
  EXPECT_TRUE(Has(shown.out, "| <s>[INST] word1 [/INST]\nloss")) << shown.out;
  EXPECT_TRUE(Has(shown.out, "| word2</s>\n")) << shown.out;
  EXPECT_TRUE(Has(shown.out, "| word4</s>\n")) << shown.out;

  WriteFile(Path("pairs.jsonl"),
            R"({"prompt": "word1", "chosen": "word2", "rejected": "word3 word4"})"
            "\n");
  const Finished pairs = Mixtral({"data", "preferences", "-d", "p=" + Path("pairs.jsonl"), "-t",
                                  Path("tok"), "-o", Path("dpo"), "--heldout", "0"});
  ASSERT_EQ(pairs.exit_code, 0) << pairs.err;
  const std::string both = Mixtral({"data", "inspect", Path("dpo")}).out;
  EXPECT_TRUE(Has(both, "p-train-00000-chosen document 0")) << both;
  EXPECT_TRUE(Has(both, "| word3 word4</s>\n")) << both;
  EXPECT_EQ(Mixtral({"data", "report", Path("dpo"), "--verify"}).exit_code, 0);
  std::string mask = ReadFile(Path("dpo/p-train-00000-chosen.mask"));
  mask[2] = 1;
  WriteFile(Path("dpo/p-train-00000-chosen.mask"), mask);
  EXPECT_EQ(RefusalProblem(Mixtral({"data", "report", Path("dpo"), "--verify"}), 2, "sha256"), "");
}

TEST_F(E2eData, ExcludedItemsAndHelp) {
  const std::string rows = ReadFile(Path("en.jsonl"));
  WriteFile(Path("eval.jsonl"), rows.substr(0, rows.find('\n') + 1));
  const Finished run = Mixtral(Prepare("out", {"--exclude", Path("eval.jsonl"), "--json"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Json::Parse(run.out, "report").At("domains").At(0).At("excluded").AsInt(), 1);
  for (const char* action : {"prepare", "sft", "preferences", "tokenizer", "report", "inspect"}) {
    const Finished help = Mixtral({"data", action, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_TRUE(Has(help.out, std::string("mixtral data ") + action)) << help.out;
    EXPECT_TRUE(Has(help.out, "Examples:")) << help.out;
    EXPECT_TRUE(Has(Mixtral({"data", "--help"}).out, action));
  }
}

}  // namespace
}  // namespace mixtral::testing
