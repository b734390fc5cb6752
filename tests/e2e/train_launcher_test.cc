// SPDX-License-Identifier: Apache-2.0
// mixtral train|sft|dpo start mixtral-train with their arguments, and say what is missing without
// it; mixtral train-report draws what a run wrote.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "e2e/process.h"
#include "support/temp_dir.h"

namespace mixtral::testing {
namespace {

namespace fs = std::filesystem;

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The program alone in a folder, so that no trainer is beside it.
std::string ProgramIn(const TempDir& dir) {
  fs::create_directories(dir / "bin");
  fs::copy_file(MIXTRAL_BINARY, dir / "bin/mixtral");
  return dir / "bin/mixtral";
}

void WriteTrainer(const std::string& path) {
  WriteFile(path, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n");
  fs::permissions(path, fs::perms::owner_all);
}

/// `env PATH=... program arguments`: the tests' own starter knows one program.
std::string Shell(const std::string& command, int* exit_code) {
  const std::string marked = "(" + command + ") 2>&1; echo \"=$?\"";
  FILE* pipe = popen(marked.c_str(), "r");
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text.push_back(static_cast<char>(c));
  pclose(pipe);
  const size_t equals = text.rfind('=');
  *exit_code = std::atoi(text.c_str() + equals + 1);
  return text.substr(0, equals);
}

TEST(E2eTrain, WithoutTheTrainerItSaysWhatToInstall) {
  const TempDir dir;
  const std::string program = ProgramIn(dir);
  for (const char* task : {"train", "sft", "dpo"}) {
    int exit_code = 0;
    const std::string text =
        Shell("PATH=/nowhere " + program + " " + task + " x.yaml --steps 3", &exit_code);
    EXPECT_EQ(exit_code, 2) << text;
    EXPECT_TRUE(Has(text, std::string("mixtral: ") + task +
                              ": the program mixtral-train is not "
                              "installed"))
        << text;
    EXPECT_TRUE(Has(text, "libtorch-dev")) << text;
    const std::string help = Shell("PATH=/nowhere " + program + " " + task + " --help", &exit_code);
    EXPECT_EQ(exit_code, 0) << help;
    EXPECT_TRUE(Has(help, "Needs mixtral-train")) << help;
  }
}

TEST(E2eTrain, ArgumentsAndExitCodePassThrough) {
  const TempDir dir;
  const std::string program = ProgramIn(dir);
  int exit_code = 0;
  fs::create_directories(dir / "path");
  WriteTrainer(dir / "path/mixtral-train");
  EXPECT_EQ(Shell("PATH=" + (dir / "path") + ":/usr/bin:/bin " + program + " sft 'a b' --lr 1",
                  &exit_code),
            "<sft><a b><--lr><1>");
  EXPECT_EQ(exit_code, 7);
  fs::create_directories(dir / "libexec/mixtral");
  WriteTrainer(dir / "libexec/mixtral/mixtral-train");
  EXPECT_EQ(Shell("PATH=/usr/bin:/bin " + program + " train --help", &exit_code),
            "<train><--help>");
  fs::rename(dir / "path/mixtral-train", dir / "bin/mixtral-train");
  EXPECT_EQ(Shell("PATH=/usr/bin:/bin " + program + " dpo", &exit_code), "<dpo>");
}

TEST(E2eTrainReport, DrawsARun) {
  const TempDir dir;
  WriteFile(dir / "metrics.jsonl",
            "{\"step\":0,\"heldout\":{\"en\":{\"loss\":5.5,\"tokens\":9}}}\n"
            "{\"step\":1,\"loss\":5.25,\"lr\":0.1,\"tokens\":64,\"load\":[[0.25,0.75]]}\n"
            "{\"step\":2,\"loss\":4.75,\"lr\":0.2,\"tokens\":128,\"load\":[[0.5,0.5]]}\n"
            "{\"step\":2,\"heldout\":{\"en\":{\"loss\":4.5,\"tokens\":9}}}\n{\"step\":3,\"lo");
  const Finished run = Mixtral({"train-report", dir.path(), "--title", "A <run>"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(Has(run.out, "report.html: 2 steps, 2 evaluations")) << run.out;
  const std::string page = ReadFile(dir / "report.html");
  EXPECT_TRUE(Has(page, "<h1>A &lt;run&gt;</h1>"));
  EXPECT_FALSE(Has(page, "<script"));
  EXPECT_EQ(RefusalProblem(Mixtral({"train-report", dir / "none"}), 2, "none"), "");
  WriteFile(dir / "bad.jsonl", "{\"step\": 1}\n");
  EXPECT_EQ(RefusalProblem(Mixtral({"train-report", dir / "bad.jsonl"}), 2, "found none"), "");
  WriteFile(dir / "bad.jsonl", "{\"step\": 1, \"loss\": \"x\"}\n");
  EXPECT_EQ(RefusalProblem(Mixtral({"train-report", dir / "bad.jsonl"}), 2, "bad.jsonl:1"), "");
}

}  // namespace
}  // namespace mixtral::testing
