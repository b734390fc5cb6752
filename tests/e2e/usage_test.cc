// SPDX-License-Identifier: Apache-2.0
// Command lines: help, typing errors, numbers out of range, and files that are no models.
#include <gtest/gtest.h>

#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(E2eHelp, OverviewNamesEveryCommand) {
  const Finished bare = Mixtral({});
  EXPECT_EQ(bare.exit_code, 1);
  EXPECT_EQ(bare.out, "");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"help"}, {"-h"}}) {
    const Finished run = Mixtral(arguments);
    EXPECT_EQ(run.exit_code, 0);
    EXPECT_EQ(run.err, "");
    for (const char* name : {"run", "chat", "info", "bench", "tokenize", "logits", "verify",
                             "config", "completions", "help"})
      EXPECT_TRUE(Has(run.out, std::string("\n  ") + name)) << name;
    EXPECT_TRUE(Has(bare.err, run.out));
  }
}

TEST(E2eHelp, EveryCommandHasExamples) {
  for (const char* name : {"run", "chat", "info", "bench", "tokenize", "logits", "verify", "config",
                           "completions", "help"}) {
    const Finished run = Mixtral({name, "--help"});
    EXPECT_EQ(run.exit_code, 0) << name;
    EXPECT_TRUE(Has(run.out, "Examples:")) << run.out;
    EXPECT_TRUE(Has(run.out, std::string("mixtral ") + name)) << run.out;
    EXPECT_EQ(Mixtral({"help", name}).out, run.out);
  }
}

TEST(E2eHelp, Version) {
  const Finished run = Mixtral({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "mixtral " MIXTRAL_PROJECT_VERSION "\n");
}

struct Wrong {
  std::vector<std::string> arguments;
  std::string message;
};

TEST(E2eUsage, TypingErrorsSuggestTheNearestName) {
  const std::vector<Wrong> cases = {
      {{"rnu", "x"}, "unknown command 'rnu'; did you mean 'run'?"},
      {{"tokenise", "x"}, "did you mean 'tokenize'?"},
      {{"banana"}, "unknown command 'banana' (see 'mixtral --help')"},
      {{"help", "caht"}, "did you mean 'chat'?"},
      {{"run", "x", "--temprature", "1"},
       "unknown flag '--temprature'; did you mean '--temperatur"},
      {{"run", "--sede=4", "x", "-p", "a"}, "unknown flag '--sede'; did you mean '--seed'?"},
      {{"info", "x", "--tensor"}, "did you mean '--tensors'?"},
      {{"run", "x", "-Z"}, "unknown flag '-Z'"},
      {{"run", "x", "-p", "a", "b"}, "unexpected argument 'b'"},
      {{"run"}, "PATH is required"},
      {{"run", "x", "-p"}, "run: --prompt: expected TEXT, found nothing"},
      {{"run", "x", "-p", "a", "--kv-type"}, "run: --kv-type: expected f16|f32, found nothing"},
      {{"run", "x", "-p", "a", "-p", "b"}, "--prompt"},
      {{"run", "x", "-p", "a", "-f", "b"}, "expected one of --prompt, --file and --token-ids"},
      {{"run", "x", "-p", "a", "--stop", ""}, "--stop: expected a text"},
      {{"run", "x", "-p", "a", "--compute", "exat"}, "found 'exat'; did you mean 'exact'?"},
      {{"run", "x", "-p", "a", "--kv-type", "q8"}, "--kv-type: expected f16|f32, found 'q8'"},
      {{"run", "x", "--token-ids", "1,x"}, "--token-ids: expected an integer"},
      {{"run", "x", "--token-ids", " "}, "--token-ids: expected token ids"},
      {{"run", "x", "-p", "a", "--log-level", "loud"}, "--log-level: expected error|warn"},
      {{"chat", "x", "--chat-format", "mistral-v9"}, "--chat-format: expected none|mistral-v1|"},
      {{"logits", "x", "-o", "y"}, "expected --tokens FILE"},
      {{"logits", "x", "--tokens", "y"}, "expected -o FILE"},
  };
  for (const Wrong& wrong : cases)
    EXPECT_EQ(RefusalProblem(Mixtral(wrong.arguments), 1, wrong.message), "");
}

TEST(E2eUsage, NumbersAreParsedStrictly) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {"-n", {"-1", "abc", "1.5", "0x10", "", " 1", "99999999999999999999", "1e3", "+1"}},
      {"--ctx", {"0", "-5", "3000000000"}},
      {"-t", {"0", "-2", "1025", "two"}},
      {"--temperature", {"-0.1", "nan", "inf", "1e999", "100.5", "hot", "0,7"}},
      {"--top-k", {"-1", "2.0"}},
      {"--top-p", {"0", "1.01", "nan", "-1"}},
      {"--min-p", {"-0.01", "1.01", "nan"}},
      {"--repetition-penalty", {"0", "-1", "nan", "1000"}},
      {"--seed", {"-1", "x", "18446744073709551616"}},
      {"--experts-per-token", {"0", "257", "-1"}},
  };
  for (const auto& [flag, values] : cases)
    for (const std::string& value : values) {
      const Finished run = Mixtral({"run", ShippedModel(), "-p", "a", flag, value});
      EXPECT_EQ(RefusalProblem(run, 1, flag), "") << flag << " '" << value << "'";
      EXPECT_TRUE(Has(run.err, "expected") && Has(run.err, "found '" + value + "'")) << run.err;
    }
}

TEST(E2eBadInput, PathsThatAreNoModels) {
  const TempDir dir;
  WriteFile(dir / "empty.gguf", "");
  WriteFile(dir / "text.gguf", "This is a text, no model.\n");
  WriteFile(dir / "half.gguf", ReadFile(ShippedModel()).substr(0, 1000000));
  std::filesystem::create_directory(dir / "nothing");
  for (const char* name : {"missing", "empty.gguf", "text.gguf", "half.gguf", "nothing"}) {
    const std::string path = dir / name;
    EXPECT_EQ(RefusalProblem(Mixtral({"run", path, "-p", "a"}), 2, path), "");
    EXPECT_EQ(RefusalProblem(Mixtral({"chat", path}, "a\n"), 2, path), "");
    EXPECT_EQ(RefusalProblem(Mixtral({"info", path}), 2, path), "");
    EXPECT_EQ(RefusalProblem(Mixtral({"tokenize", path, "a"}), 2, path), "");
  }
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-f", dir / "no"}), 2, dir / "no"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-p", "a", "--ctx", "513"}), 1,
                           "--ctx: expected an integer in 1..512"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-p", "a", "--experts-per-token", "9"}),
                           2, "expected 1..8"),
            "");
}

TEST(E2eBadInput, NearestFileNames) {
  const TempDir dir;
  std::filesystem::create_symlink(ShippedModel(), dir / "model.gguf");
  const std::string meant = "did you mean '" + (dir / "model.gguf") + "'?";
  for (const char* command : {"run", "chat", "info", "tokenize", "verify"})
    EXPECT_EQ(RefusalProblem(Mixtral({command, dir / "modle.gguf"}, "a"), 2, meant), "") << command;
  WriteFile(dir / "prompt.txt", "a");
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-f", dir / "promt.txt"}), 2,
                           "did you mean '" + (dir / "prompt.txt") + "'?"),
            "");
}

TEST(E2eMemory, ReadAndLockedWeightsGiveTheSameText) {
  const std::vector<std::string> arguments = {"run", ShippedModel(),  "-p", "a", "-n",
                                              "8",   "--temperature", "0",  "-q"};
  const Finished mapped = Mixtral(arguments);
  ASSERT_EQ(mapped.exit_code, 0) << mapped.err;
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--no-mmap"}, {"--mlock"}, {"--no-mmap", "--mlock"}}) {
    std::vector<std::string> with = arguments;
    with.insert(with.end(), flags.begin(), flags.end());
    const Finished run = Mixtral(with);
    if (run.err.find("RLIMIT_MEMLOCK") != std::string::npos) continue;  // may not lock here
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, mapped.out);
  }
}

TEST(E2eBadInput, ContentDecidesNotTheName) {
  const TempDir dir;
  std::filesystem::create_symlink(ShippedModel(), dir / "model.txt");
  EXPECT_EQ(Mixtral({"info", dir / "model.txt"}).exit_code, 0);
}

TEST(E2eBadInput, UnknownInstructionSet) {
  for (const char* command : {"run", "info"}) {
    Start start = {
        .arguments = {command, ShippedModel()}, .input = "a", .environment = {"MIXTRAL_ISA=mmx"}};
    EXPECT_EQ(RefusalProblem(RunProcess(start), 2, "MIXTRAL_ISA"), "");
  }
}

}  // namespace
}  // namespace mixtral::testing
