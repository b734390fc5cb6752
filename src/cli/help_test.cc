// SPDX-License-Identifier: Apache-2.0
// Commands with actions: found, described, completed and explained as commands of two words.
#include "cli/help.h"

#include <gtest/gtest.h>

#include "cli/command_line.h"

namespace mixtral::cli {
namespace {

std::optional<std::string> g_output;  // of the last run: a command is a plain function

int MakeCommand(Arguments arguments) {
  CommandLine line("data make", "Makes it.", "  mixtral data make -o x");
  std::optional<std::string> output;
  line.Text("-o,--output", &output, "FILE", "Where it's put: [here]");
  if (line.Parse(arguments)) g_output = output;
  return 0;
}

constexpr Command kActions[] = {{"make", "make it", &MakeCommand}};

int DataCommand(Arguments arguments) {
  return CommandLine("data", "Data.", "  mixtral data make").RunAction(arguments, kActions);
}

constexpr Command kCommands[] = {{"data", "data for training", &DataCommand}};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int RunData(const std::vector<std::string>& words) {
  return DataCommand({.words = words, .commands = kCommands});
}

TEST(Actions, TheFirstWordPicks) {
  setenv("MIXTRAL_NO_CONFIG", "1", 1);
  EXPECT_EQ(RunData({"make", "-o", "x"}), 0);
  EXPECT_EQ(g_output, "x");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"mak"}, {"make", "y"}, {"make", "--outptu", "y"}})
    EXPECT_THROW(RunData(words), UsageError);
  try {
    RunData({"mak"});
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "ACTION: expected make, found 'mak'; did you mean 'make'?");
  }
  unsetenv("MIXTRAL_NO_CONFIG");
}

TEST(Actions, AreDescribedAfterTheirCommand) {
  const auto all = DescribeAll(kCommands);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "data");
  EXPECT_EQ(all[1].name, "data make");
  EXPECT_EQ(all[1].summary, "make it");
  EXPECT_EQ(all[0].flags.at(0).choices, std::vector<std::string>{"make"});
  EXPECT_EQ(PageName(all[1]), "mixtral-data-make");
  EXPECT_TRUE(Has(OverviewManPage(all), ".TP\n\\fBmixtral\\-data\\-make\\fR(1)\nmake it\n"));
  EXPECT_TRUE(Has(ManPage(all[1]), "\\fB\\-o\\fR, \\fB\\-\\-output\\fR \\fIFILE\\fR\nWhere it's"));
}

TEST(Actions, AreCompleted) {
  const auto all = DescribeAll(kCommands);
  EXPECT_TRUE(Has(BashCompletions(all), "    'data make')\n"));
  EXPECT_TRUE(Has(BashCompletions(all), "_mixtral_words 'data --help --version'"));
  EXPECT_TRUE(Has(ZshCompletions(all),
                  "'(-o --output)--output=[Where it'\\''s put\\: \\[here\\]]:FILE:_files'"));
  EXPECT_TRUE(
      Has(FishCompletions(all),
          "-n '__fish_seen_subcommand_from data; and __fish_seen_subcommand_from make' -s o "
          "-l output -r -F"));
}

}  // namespace
}  // namespace mixtral::cli
