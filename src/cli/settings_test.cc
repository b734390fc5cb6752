// SPDX-License-Identifier: Apache-2.0
// The config file's format, the check of its keys, unknown variables, and the order of precedence.
#include "cli/settings.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/command_line.h"

namespace mixtral::cli {
namespace {

struct Probe {
  int threads = 0;
  bool quiet = false;
  std::string compute = "fast";
  std::optional<std::string> system;
  std::vector<std::string> stop;
};

Probe g_probe;  // of the last run: a command is a plain function

int ProbeCommand(Arguments arguments) {
  Probe probe;
  CommandLine line("probe", "For tests.", "  mixtral probe");
  line.Int("-t,--threads", &probe.threads, {1, 64}, "Threads");
  line.Flag("-q,--quiet", &probe.quiet, "Quiet");
  line.Choice("--compute", &probe.compute, {"fast", "exact"}, "How");
  line.Text("--system-prompt", &probe.system, "TEXT", "Prompt");
  line.TextList("--stop", &probe.stop, "TEXT", "Stop");
  if (line.Parse(arguments)) g_probe = probe;
  return 0;
}

int OtherCommand(Arguments arguments) {
  int count = 0;
  CommandLine line("other", "For tests.", "  mixtral other");
  line.Int("--count", &count, {0, 9}, "Count");
  line.Parse(arguments);
  return 0;
}

constexpr Command kProbeCommands[] = {{"probe", "probes", &ProbeCommand},
                                      {"other", "others", &OtherCommand}};

class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("MIXTRAL_NO_CONFIG", "1", 1);
    folder_ = ::testing::TempDir() + "settings_test_" + std::to_string(getpid());
    path_ = folder_ + ".config";
  }
  void TearDown() override {
    for (const char* name : {"MIXTRAL_NO_CONFIG", "MIXTRAL_THREADS", "MIXTRAL_QUIET",
                             "MIXTRAL_SYSTEM_PROMPT", "MIXTRAL_CONFIG"})
      unsetenv(name);
    remove(path_.c_str());
  }
  void WriteConfig(const std::string& text) {
    FILE* file = fopen(path_.c_str(), "w");
    ASSERT_NE(file, nullptr);
    fwrite(text.data(), 1, text.size(), file);
    fclose(file);
    unsetenv("MIXTRAL_NO_CONFIG");
    setenv("MIXTRAL_CONFIG", path_.c_str(), 1);
  }
  static Probe Run(const std::vector<std::string>& words) {
    g_probe = {};
    ProbeCommand({.words = words, .commands = kProbeCommands});
    return g_probe;
  }
  /// The message of the UsageError that running throws; empty when it throws none.
  static std::string Problem(const std::vector<std::string>& words) {
    try {
      Run(words);
      return "";
    } catch (const UsageError& error) {
      return error.what();
    }
  }
  std::string folder_, path_;
};

TEST(ParseConfig, KeysSectionsQuotesAndComments) {
  const auto entries = ParseConfig(
      "# comment\n"
      "threads = 4   # four\r\n"
      "\n"
      "  url=a#b\n"
      "empty =\n"
      "[ chat ] # section\n"
      "system = \"a \\\"b\\\" \\\\ \\n # c\"  # d\n",
      "FILE");
  ASSERT_EQ(entries.size(), 5u);
  EXPECT_EQ(entries[0].key, "threads");
  EXPECT_EQ(entries[0].value, "4");
  EXPECT_EQ(entries[0].line, 2);
  EXPECT_EQ(entries[1].value, "a#b");
  EXPECT_EQ(entries[2].value, "");
  EXPECT_EQ(entries[3].section, "chat");
  EXPECT_EQ(entries[4].section, "chat");
  EXPECT_EQ(entries[4].value, "a \"b\" \\ \n # c");
}

TEST(ParseConfig, SaysWhichLineIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"a = 1\nnonsense\n", "line: expected KEY = VALUE, found 'nonsense', in FILE:2"},
      {"a = \"open\n", "value: expected a closing quote, found none, in FILE:1"},
      {"a = \"x\" y\n", "found 'y', in FILE:1"},
      {"a = \"\\q\"\n", "found \\q, in FILE:1"},
      {"\n\n[run\n", "section: expected [COMMAND], found '[run', in FILE:3"},
  };
  for (const auto& [text, message] : cases) {
    try {
      ParseConfig(text, "FILE");
      ADD_FAILURE() << text;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  }
}

TEST_F(SettingsTest, CommandLineThenEnvironmentThenFileThenDefault) {
  EXPECT_EQ(Run({}).threads, 0);
  WriteConfig("threads = 2\n[other]\ncount = 3\n");
  EXPECT_EQ(Run({}).threads, 2);
  WriteConfig("threads = 2\n[probe]\nthreads = 3\nthreads = 4\n");
  EXPECT_EQ(Run({}).threads, 4) << "the section counts before the top, its last line before others";
  setenv("MIXTRAL_THREADS", "5", 1);
  EXPECT_EQ(Run({}).threads, 5);
  EXPECT_EQ(Run({"-t", "6"}).threads, 6);
  setenv("MIXTRAL_THREADS", "", 1);
  EXPECT_EQ(Run({}).threads, 4) << "an empty variable is none";
  EXPECT_EQ(Run({"--no-config"}).threads, 0);
}

TEST_F(SettingsTest, EveryKindOfFlag) {
  WriteConfig(
      "[probe]\nquiet = yes\ncompute = exact\nsystem-prompt = \" a \"\nstop = x\nstop = y\n");
  const Probe probe = Run({});
  EXPECT_TRUE(probe.quiet);
  EXPECT_EQ(probe.compute, "exact");
  EXPECT_EQ(probe.system, " a ");
  EXPECT_EQ(probe.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(Run({"--stop", "z"}).stop, std::vector<std::string>{"z"});
  EXPECT_FALSE(Run({"--quiet=false"}).quiet);
  setenv("MIXTRAL_QUIET", "off", 1);
  EXPECT_FALSE(Run({}).quiet);
  setenv("MIXTRAL_SYSTEM_PROMPT", "b", 1);
  EXPECT_EQ(Run({}).system, "b");
}

TEST_F(SettingsTest, BadValuesSayWhereTheyAre) {
  setenv("MIXTRAL_THREADS", "many", 1);
  EXPECT_EQ(Problem({}),
            "-t/--threads: expected an integer in 1..64, found 'many', in environment variable "
            "MIXTRAL_THREADS");
  EXPECT_EQ(Problem({"-t", "2"}), "");
  unsetenv("MIXTRAL_THREADS");
  WriteConfig("\nquiet = perhaps\n");
  EXPECT_EQ(Problem({}), "-q/--quiet: expected true or false, found 'perhaps', in " + path_ + ":2");
  WriteConfig("[probe]\ncompute = exat\n");
  EXPECT_EQ(
      Problem({}),
      "--compute: expected fast|exact, found 'exat'; did you mean 'exact'?, in " + path_ + ":2");
}

TEST_F(SettingsTest, UnknownKeysAreRefusedWithTheNearest) {
  WriteConfig("threds = 2\n");
  EXPECT_EQ(Problem({}),
            "key: expected a flag of a command without its dashes, found 'threds'; did you mean "
            "'threads'?, in " +
                path_ + ":1");
  WriteConfig("count = 2\n");
  EXPECT_EQ(Problem({}), "") << "a flag of another command";
  WriteConfig("[probe]\ncount = 2\n");
  EXPECT_NE(Problem({}).find("expected a flag of probe"), std::string::npos);
  WriteConfig("[prob]\n");
  EXPECT_NE(Problem({}).find("found 'prob'; did you mean 'probe'?, in " + path_ + ":1"),
            std::string::npos);
  WriteConfig("config = x\n");
  EXPECT_NE(Problem({}), "") << "a file that names a file";
}

TEST_F(SettingsTest, UnknownVariablesGetTheNearestName) {
  const auto commands = DescribeAll(kProbeCommands);
  const auto notices = UnknownVariables(
      std::vector<std::string>{"MIXTRAL_THREDS", "MIXTRAL_THREADS", "MIXTRAL_COUNT", "MIXTRAL_ISA",
                               "MIXTRAL_SYSTEM_PROMPT", "MIXTRAL_BANANA"},
      commands);
  ASSERT_EQ(notices.size(), 2u);
  EXPECT_EQ(notices[0],
            "environment variable MIXTRAL_THREDS is not one of this program; did you mean "
            "'MIXTRAL_THREADS'?");
  EXPECT_EQ(notices[1], "environment variable MIXTRAL_BANANA is not one of this program");
}

TEST_F(SettingsTest, DescriptionsTellWhatIsSetAndFromWhere) {
  setenv("MIXTRAL_THREADS", "5", 1);
  const Settings settings;
  const CommandDescription probe = Describe(kProbeCommands[0], kProbeCommands, &settings);
  EXPECT_EQ(probe.summary, "probes");
  ASSERT_EQ(probe.flags[0].names, (std::vector<std::string>{"-t", "--threads"}));
  EXPECT_EQ(probe.flags[0].set_values, std::vector<std::string>{"5"});
  EXPECT_EQ(probe.flags[0].origin, "environment variable MIXTRAL_THREADS");
  EXPECT_EQ(probe.flags[2].origin, "");
  EXPECT_EQ(probe.flags[2].choices, (std::vector<std::string>{"fast", "exact"}));
}

TEST(DefaultConfigPath, FollowsXdg) {
  const char* home = getenv("HOME");
  const std::string saved = home != nullptr ? home : "";
  setenv("HOME", "/h", 1);
  unsetenv("XDG_CONFIG_HOME");
  EXPECT_EQ(DefaultConfigPath(), "/h/.config/mixtral/config");
  setenv("XDG_CONFIG_HOME", "relative", 1);
  EXPECT_EQ(DefaultConfigPath(), "/h/.config/mixtral/config");
  setenv("XDG_CONFIG_HOME", "/x", 1);
  EXPECT_EQ(DefaultConfigPath(), "/x/mixtral/config");
  unsetenv("XDG_CONFIG_HOME");
  setenv("HOME", saved.c_str(), 1);
}

}  // namespace
}  // namespace mixtral::cli
