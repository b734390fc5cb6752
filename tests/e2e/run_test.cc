// SPDX-License-Identifier: Apache-2.0
// mixtral run on the model that ships: where prompts come from, what is printed where, and how it
// ends.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>

#include "base/json.h"
#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

std::vector<std::string> RunArguments(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"run", ShippedModel(), "-n", "16"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string TextOf(const std::vector<std::string>& more, const std::string& input = "") {
  const Finished run = Mixtral(RunArguments(more), input);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_FALSE(run.out.empty());
  return run.out;
}

TEST(E2eRun, SameSeedSameTextOnAnyThreads) {
  const std::string text = TextOf({"-p", "The document", "--seed", "5"});
  EXPECT_EQ(TextOf({"-p", "The document", "--seed", "5"}), text);
  EXPECT_EQ(TextOf({"-p", "The document", "--seed", "5", "-t", "1"}), text);
  EXPECT_EQ(TextOf({"-p", "The document", "--seed", "5", "-t", "2"}), text);
  EXPECT_EQ(TextOf({"-p", "The document", "--seed", "5", "--threads=3"}), text);
  EXPECT_NE(TextOf({"-p", "The document", "--seed", "6"}), text);
}

TEST(E2eRun, PromptFromFileAndPipeAsItIs) {
  const TempDir dir;
  const std::string prompt = "Click the\nbutton\n";
  WriteFile(dir / "prompt.txt", prompt);
  const std::string text = TextOf({"-p", prompt, "--temperature", "0"});
  EXPECT_EQ(TextOf({"-f", dir / "prompt.txt", "--temperature", "0"}), text);
  EXPECT_EQ(TextOf({"--temperature", "0"}, prompt), text);
  EXPECT_EQ(TextOf({"-f", "-", "--temperature", "0"}, prompt), text);
  EXPECT_NE(TextOf({"-p", "Click the\nbutton", "--temperature", "0"}), text);
}

TEST(E2eRun, EmptyPromptBeginsFromBos) {
  const std::string text = TextOf({"-p", "", "--temperature", "0"});
  EXPECT_EQ(TextOf({"--temperature", "0"}, ""), text);
  const std::string ids = TextOf({"--token-ids", "1", "--temperature", "0"});
  EXPECT_EQ(Mixtral({"tokenize", ShippedModel(), "--decode", ids}).out, text);
}

TEST(E2eRun, TokenIdsAreTheEncodedPromptWithOneBos) {
  const std::string ids = Mixtral({"tokenize", ShippedModel(), "--bos", "The document"}).out;
  EXPECT_EQ(ParseIds(ids).front(), 1);
  const Finished by_ids = Mixtral(RunArguments({"--token-ids", ids, "--seed", "5"}));
  const Json by_text = Json::Parse(
      Mixtral(RunArguments({"-p", "The document", "--seed", "5", "--json"})).out, "json");
  const std::vector<int64_t> tokens = by_text.At("tokens").AsIntArray();
  EXPECT_EQ(ParseIds(by_ids.out), std::vector<TokenId>(tokens.begin(), tokens.end()));
  EXPECT_EQ(by_text.At("prompt_tokens").AsInt(), std::ssize(ParseIds(ids)));
}

TEST(E2eRun, JsonHoldsWhatTheTextRunPrints) {
  const Finished run = Mixtral(RunArguments({"-p", "The document", "--seed", "5", "--json"}));
  EXPECT_EQ(run.exit_code, 0);
  const Json json = Json::Parse(run.out, "json");
  EXPECT_EQ(json.At("text").AsString() + "\n", TextOf({"-p", "The document", "--seed", "5"}));
  EXPECT_EQ(json.At("finish_reason").AsString(), "length");
  EXPECT_EQ(json.At("seed").AsInt(), 5);
  EXPECT_EQ(json.At("tokens").Size(), 16u);
  EXPECT_GT(json.At("timings").At("decode_tokens_per_s").AsDouble(), 0);
  EXPECT_EQ(json.At("timings").At("decode_steps").AsInt(), 15);
}

TEST(E2eRun, TextEndsWithOneLineEnd) {
  for (int n = 1; n < 40; ++n) {
    const std::vector<std::string> arguments = {
        "run", ShippedModel(),   "-p", "Click the button", "--temperature", "0",
        "-n",  std::to_string(n)};
    std::vector<std::string> with_json = arguments;
    with_json.emplace_back("--json");
    const std::string text = Json::Parse(Mixtral(with_json).out, "json").At("text").AsString();
    if (!text.ends_with('\n')) continue;
    EXPECT_EQ(Mixtral(arguments).out, text);
    return;
  }
  ADD_FAILURE() << "no text ended with a line end";
}

TEST(E2eRun, FiguresGoToStandardErrorUnlessQuiet) {
  const Finished run = Mixtral(RunArguments({"-p", "The document"}));
  for (const char* part :
       {"load ", "prompt ", "generate  16 tokens", "tokens/s", "GB/s", "length, seed "})
    EXPECT_NE(run.err.find(part), std::string::npos) << part << " not in " << run.err;
  // The seed printed makes the run again.
  const std::string seed = run.err.substr(run.err.rfind(' ') + 1);
  EXPECT_EQ(TextOf({"-p", "The document", "--seed", seed.substr(0, seed.size() - 1)}), run.out);
  EXPECT_EQ(Mixtral(RunArguments({"-p", "The document", "-q"})).err, "");
}

TEST(E2eRun, StopStringsEndTheText) {
  const std::string text = TextOf({"-p", "The document", "--temperature", "0"});
  ASSERT_GT(text.size(), 12u);
  const std::string stop = text.substr(6, 3);
  const Finished run = Mixtral(RunArguments(
      {"-p", "The document", "--temperature", "0", "--stop", "@@never", "--stop", stop}));
  EXPECT_EQ(run.out, text.substr(0, text.find(stop)) + "\n");
  EXPECT_NE(run.err.find("end       stop"), std::string::npos) << run.err;
}

/// At temperature 100 a small vocabulary's tokens are nearly equally likely, EOS among them.
TEST(E2eRun, EosEndsUnlessIgnored) {
  const TempDir dir;
  ASSERT_EQ(std::system(("'" MIXTRAL_TINY_MODEL_MAKER "' '" + dir.path() + "'").c_str()), 0);
  std::vector<std::string> arguments = {"run",
                                        dir / "tiny-f32.gguf",
                                        "--token-ids",
                                        "1,5",
                                        "--temperature",
                                        "100",
                                        "--seed",
                                        "3",
                                        "-n",
                                        "900",
                                        "--json"};
  const Json ended = Json::Parse(Mixtral(arguments).out, "json");
  EXPECT_EQ(ended.At("finish_reason").AsString(), "eos");
  EXPECT_LT(ended.At("tokens").Size(), 900u);
  arguments.emplace_back("--ignore-eos");
  const Json ignored = Json::Parse(Mixtral(arguments).out, "json");
  EXPECT_EQ(ignored.At("finish_reason").AsString(), "length");
  const std::vector<int64_t> all = ignored.At("tokens").AsIntArray();
  const std::vector<int64_t> first = ended.At("tokens").AsIntArray();
  ASSERT_EQ(all.size(), 900u);
  EXPECT_EQ(all[first.size()], 2);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin()));
}

TEST(E2eRun, NoTokensPrintNothing) {
  const Finished run = Mixtral({"run", ShippedModel(), "-p", "The document", "-n", "0"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "");
}

TEST(E2eRun, LongPromptsAndFullContexts) {
  std::string words;
  for (int i = 0; i < 600; ++i) words += " word";
  EXPECT_EQ(RefusalProblem(Mixtral({"run", ShippedModel(), "-q"}, words), 2,
                           "expected at most 512 tokens (the context), found "),
            "");
  const Finished full = Mixtral(
      {"run", ShippedModel(), "-p", "The document", "--ctx", "12", "--ignore-eos", "--json"});
  EXPECT_EQ(Json::Parse(full.out, "json").At("finish_reason").AsString(), "context full");
}

TEST(E2eRun, FlagsChangeTheResult) {
  const std::string text = TextOf({"-p", "Click the button", "--temperature", "0"});
  EXPECT_NE(TextOf({"-p", "Click the button", "--temperature", "0", "--experts-per-token", "1"}),
            text);
  EXPECT_NE(TextOf({"-p", "Click the button", "--temperature", "0", "--repetition-penalty", "5"}),
            text);
  EXPECT_EQ(TextOf({"-p", "Click the button", "--top-k", "1"}), text);
  EXPECT_EQ(TextOf({"-p", "Click the button", "--top-p", "0.000001"}), text);
  EXPECT_EQ(TextOf({"-p", "Click the button", "--min-p", "1"}), text);
}

TEST(E2eRun, ReaderGoneEndsQuietly) {
  const Finished run = RunProcess({.arguments = RunArguments({"-p", "The document"}),
                                   .input = "",
                                   .environment = {},
                                   .stdout_to = StdoutTo::kReaderGone});
  EXPECT_EQ(run.signal, 0);
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.err, "");
}

TEST(E2eRun, LostOutputIsAnError) {
  for (const StdoutTo to : {StdoutTo::kClosed, StdoutTo::kFullDisk}) {
    const Finished run = RunProcess({.arguments = RunArguments({"-p", "The document", "-q"}),
                                     .input = "",
                                     .environment = {},
                                     .stdout_to = to});
    EXPECT_EQ(RefusalProblem(run, 2, "standard output: write failed"), "");
  }
}

TEST(E2eRun, InterruptStopsAfterTheStep) {
  StalledChild child({"run", ShippedModel(), "-p", "The document", "--ignore-eos"});
  ASSERT_TRUE(child.WaitUntilStalled());
  child.Send(SIGINT);
  const Finished run = child.Finish();
  EXPECT_EQ(run.signal, 0);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_NE(run.err.find("end       cancelled"), std::string::npos) << run.err;
  EXPECT_EQ(run.out.back(), '\n');
  EXPECT_LT(run.out.size(), 200u);
}

}  // namespace
}  // namespace mixtral::testing
