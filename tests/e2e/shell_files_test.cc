// SPDX-License-Identifier: Apache-2.0
// Completions and man pages through the programs that read them; colours on a terminal and nowhere
// else.
#include <gtest/gtest.h>

#include "e2e/process.h"
#include "e2e/shell.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What bash would offer for the words of a command line, of which the last is being typed.
std::string Offered(const std::string& words) {
  const ShellResult result = Shell(
      "set -eu\nsource <($MIXTRAL completions bash)\n"
      "complete -p mixtral | grep -q -- '-F _mixtral mixtral'\n"
      "COMP_WORDS=(" +
      words +
      ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
      "_mixtral || true\n"
      "printf '%s\\n' \"${COMPREPLY[@]}\"");
  return result.exit_code == 0 ? result.out : "failed: " + result.out;
}

TEST(E2eCompletions, BashOffersCommandsFlagsChoicesAndFiles) {
  EXPECT_EQ(Offered("mixtral ru"), "run\n");
  EXPECT_TRUE(Has(Offered("mixtral ''"), "run\nchat\n"));
  EXPECT_EQ(Offered("mixtral --ver"), "--version\n");
  EXPECT_EQ(Offered("mixtral run x --temp"), "--temperature\n");
  EXPECT_EQ(Offered("mixtral run x --kv-type f"), "f16\nf32\n");
  EXPECT_EQ(Offered("mixtral run x --kv-type = f3"), "f32\n");
  EXPECT_EQ(Offered("mixtral run x --kv-type ="), "f16\nf32\n");
  EXPECT_EQ(Offered("mixtral completions z"), "zsh\n");
  EXPECT_EQ(Offered("mixtral help tok"), "tokenize\n");
  EXPECT_EQ(Offered("mixtral run x --seed ''"), "\n") << "a number: nothing to offer";
  const TempDir dir;
  WriteFile(dir / "a model.gguf", "");
  EXPECT_EQ(Offered("mixtral info '" + (dir / "a") + "'"), (dir / "a model.gguf") + "\n");
  EXPECT_EQ(Offered("mixtral run x -f '" + (dir / "a") + "'"), (dir / "a model.gguf") + "\n");
}

/// What is wrong with a shell's script: it must name everything, and parse without a word.
std::string ScriptProblem(const std::string& shell) {
  const Finished run = Mixtral({"completions", shell});
  if (run.exit_code != 0) return run.err;
  for (const char* word : {"run", "chat", "temperature", "no-mmap", "f16"})
    if (!Has(run.out, word)) return std::string("no ") + word;
  const TempDir dir;
  WriteFile(dir / "script", run.out);
  const ShellResult check = Shell(shell + " -n " + (dir / "script"));
  return check.exit_code == 0 ? check.out : "it does not parse: " + check.out;
}

TEST(E2eCompletions, BashTakesItsScript) { EXPECT_EQ(ScriptProblem("bash"), ""); }

TEST(E2eCompletions, FishOffersChoices) {
  if (!HasProgram("fish")) GTEST_SKIP() << "fish is not installed";
  EXPECT_EQ(ScriptProblem("fish"), "");
  const ShellResult result = Shell(
      "fish --no-config -c '$MIXTRAL completions fish | source; complete -C \"mixtral run x "
      "--kv-type f\"; "
      "complete -C \"mixtral chat x --syst\"; complete -C \"mixtral completions b\"'");
  EXPECT_TRUE(Has(result.out, "f16\t")) << result.out;
  EXPECT_TRUE(Has(result.out, "f32\t")) << result.out;
  EXPECT_TRUE(Has(result.out, "--system\t")) << result.out;
  EXPECT_TRUE(Has(result.out, "bash\n") || Has(result.out, "bash\t")) << result.out;
}

TEST(E2eCompletions, ZshLoadsItsFunction) {
  if (!HasProgram("zsh")) GTEST_SKIP() << "zsh is not installed";
  EXPECT_EQ(ScriptProblem("zsh"), "");
  const TempDir dir;
  WriteFile(dir / "_mixtral", Mixtral({"completions", "zsh"}).out);
  const ShellResult result =
      Shell("zsh -f -c 'fpath=(" + dir.path() + " $fpath); autoload -Uz compinit; compinit -u -d " +
            (dir / "dump") + "; print $_comps[mixtral]'");
  EXPECT_EQ(result.out, "_mixtral\n");
}

TEST(E2eManPages, RenderWithoutAWarning) {
  if (!HasProgram("man")) GTEST_SKIP() << "man is not installed";
  const TempDir dir;
  ASSERT_EQ(Mixtral({"help", "--man", "--output", dir.path()}).exit_code, 0);
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
    const std::string page = entry.path().string(), &name = page;
    const ShellResult rendered = Shell("MANWIDTH=80 man --warnings -l " + page + " | col -b");
    EXPECT_EQ(rendered.exit_code, 0);
    EXPECT_FALSE(Has(rendered.out, "warning")) << rendered.out;
    for (const char* heading : {"NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES"})
      EXPECT_TRUE(Has(rendered.out, heading)) << name << " " << heading;
  }
  const ShellResult run = Shell("MANWIDTH=100 man -l " + (dir / "mixtral-run.1") + " | col -b");
  EXPECT_TRUE(Has(run.out, "-n, --max-tokens N")) << run.out;
  EXPECT_TRUE(Has(run.out, "--kv-type f16|f32")) << run.out;
  EXPECT_EQ(Mixtral({"help", "--man", "run"}).out, ReadFile(dir / "mixtral-run.1"));
}

TEST(E2eManPages, HelpRefusesWhatDoesNotFit) {
  EXPECT_EQ(RefusalProblem(Mixtral({"help", "--output", "x"}), 1, "--man"), "");
  EXPECT_EQ(RefusalProblem(Mixtral({"help", "run", "--man", "--output", "x"}), 1, "no command"),
            "");
  EXPECT_EQ(RefusalProblem(Mixtral({"help", "--man", "--output", "/no/such/folder"}), 2,
                           "/no/such/folder"),
            "");
}

TEST(E2eColours, OnATerminalAndNowhereElse) {
  const std::string wrong = "$MIXTRAL info /no/such/model";
  EXPECT_TRUE(Has(InTerminal(wrong).out, "\x1b[1;31mmixtral:\x1b[0m no such file"));
  EXPECT_FALSE(Has(InTerminal(wrong, "dumb").out, "\x1b"));
  EXPECT_FALSE(Has(InTerminal("NO_COLOR=1 " + wrong).out, "\x1b"));
  EXPECT_TRUE(Has(InTerminal("NO_COLOR= " + wrong).out, "\x1b[1;31m")) << "empty counts as unset";
  EXPECT_FALSE(Has(Shell("TERM=xterm " + wrong).out, "\x1b"));
}

}  // namespace
}  // namespace mixtral::testing
