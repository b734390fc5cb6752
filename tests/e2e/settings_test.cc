// SPDX-License-Identifier: Apache-2.0
// Environment and config file as a user sets them, and `config`, which shows them.
#include <gtest/gtest.h>

#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Finished With(const std::vector<std::string>& environment,
              const std::vector<std::string>& arguments) {
  return RunProcess({.arguments = arguments, .input = "", .environment = environment});
}

TEST(E2eSettings, EnvironmentFileAndCommandLineGiveTheSameText) {
  const TempDir dir;
  WriteFile(dir / "config",
            "[run]\nprompt = To insert a table\nmax-tokens = 8\ntemperature = 0\nquiet = true\n");
  const std::string model = ShippedModel();
  const Finished by_flags =
      Mixtral({"run", model, "-p", "To insert a table", "-n", "8", "--temperature", "0", "-q"});
  ASSERT_EQ(by_flags.exit_code, 0) << by_flags.err;
  const Finished by_file = Mixtral({"run", model, "--config", dir / "config"});
  EXPECT_EQ(by_file.out, by_flags.out);
  EXPECT_EQ(by_file.err, "");
  const Finished by_environment =
      With({"MIXTRAL_PROMPT=To insert a table", "MIXTRAL_MAX_TOKENS=8", "MIXTRAL_TEMPERATURE=0",
            "MIXTRAL_QUIET=1", "MIXTRAL_CONFIG=" + (dir / "nothing"), "MIXTRAL_NO_CONFIG=1"},
           {"run", model});
  EXPECT_EQ(by_environment.out, by_flags.out);
  EXPECT_EQ(by_environment.err, "");
}

TEST(E2eSettings, FileIsFoundInTheConfigFolder) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "mixtral");
  WriteFile(dir / "mixtral/config", "threads = no\n");
  const std::vector<std::string> environment = {"XDG_CONFIG_HOME=" + dir.path()};
  EXPECT_EQ(RefusalProblem(With(environment, {"run", ShippedModel(), "-p", "a"}), 1,
                           "found 'no', in " + (dir / "mixtral/config") + ":1"),
            "");
  EXPECT_EQ(
      With(environment, {"run", ShippedModel(), "-p", "a", "-n", "1", "--no-config"}).exit_code, 0);
}

TEST(E2eSettings, MistakesAreOneLineAndExitCode1) {
  const TempDir dir;
  const auto refusal = [&](const std::string& text, const std::string& message) {
    WriteFile(dir / "config", text);
    return RefusalProblem(Mixtral({"info", ShippedModel(), "--config", dir / "config"}), 1,
                          message);
  };
  EXPECT_EQ(refusal("\nthreds = 2\n",
                    "found 'threds'; did you mean 'threads'?, in " + (dir / "config") + ":2"),
            "");
  EXPECT_EQ(refusal("[rnu]\n", "found 'rnu'; did you mean 'run'?, in " + (dir / "config") + ":1"),
            "");
  EXPECT_EQ(refusal("[info]\njson = perhaps\n", "expected true or false, found 'perhaps'"), "");
  EXPECT_EQ(refusal("[info]\ntemperature = 1\n", "expected a flag of info"), "");
  EXPECT_EQ(refusal(std::string("\0\xff\n", 3), ":1"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"info", ShippedModel(), "--config", dir / "confg"}), 2,
                           "did you mean '" + (dir / "config") + "'?"),
            "");
  EXPECT_EQ(RefusalProblem(With({"MIXTRAL_TENSORS=x"}, {"info", ShippedModel()}), 1,
                           "--tensors: expected true or false, found 'x', in environment variable "
                           "MIXTRAL_TENSORS"),
            "");
}

TEST(E2eSettings, UnknownVariablesAreNoticedUnlessQuiet) {
  const Finished run = With({"MIXTRAL_THREDS=2"}, {"tokenize", ShippedModel(), "a"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(
      run.err,
      "mixtral: note: environment variable MIXTRAL_THREDS is not one of this program; did you "
      "mean 'MIXTRAL_THREADS'?\n");
  EXPECT_EQ(With({"MIXTRAL_THREDS=2"}, {"run", ShippedModel(), "-p", "a", "-n", "1", "-q"}).err,
            "");
}

TEST(E2eSettings, ConfigShowsWhatIsSetAndFromWhere) {
  const TempDir dir;
  WriteFile(dir / "config", "threads = 2\n[chat]\nsystem = \"In French.\"\n");
  const Finished run = With({"MIXTRAL_SEED=7"}, {"config", "--config", dir / "config"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(Has(run.out, "run: seed = 7, in environment variable MIXTRAL_SEED\n")) << run.out;
  EXPECT_TRUE(Has(run.out, "run: threads = 2, in " + (dir / "config") + ":1\n")) << run.out;
  EXPECT_TRUE(Has(run.out, "chat: system = In French., in " + (dir / "config") + ":3\n"))
      << run.out;
  const Finished one = Mixtral({"config", "info", "--config", dir / "config"});
  EXPECT_FALSE(Has(one.out, "chat:")) << one.out;
  WriteFile(dir / "config", "[chat]\ntop-k = x\n");
  EXPECT_EQ(RefusalProblem(Mixtral({"config", "--config", dir / "config"}), 1,
                           "--top-k: expected an integer"),
            "");
  EXPECT_TRUE(Has(Mixtral({"config"}).out, "Nothing is set"));
}

}  // namespace
}  // namespace mixtral::testing
