// SPDX-License-Identifier: Apache-2.0
// `mixtral train|sft|dpo`: starts mixtral-train, which is a program of its own because LibTorch and
// libsentencepiece cannot live in one process. Its flags and errors are its own.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "cli/command_line.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

constexpr const char* kTrainer = "mixtral-train";

/// Beside this program, then where `install` puts helpers. Empty: only PATH is left.
std::string TrainerNearby() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (error) return "";
  for (const fs::path& place : {folder / kTrainer, folder / "../libexec/mixtral" / kTrainer,
                                folder / "../libexec" / kTrainer})
    if (access(place.c_str(), X_OK) == 0) return place.string();
  return "";
}

/// Replaces this process. Returns only when there is no such program.
void StartTrainer(const std::string& task, Arguments arguments) {
  const std::string nearby = TrainerNearby();
  std::vector<std::string> words = {nearby.empty() ? kTrainer : nearby, task};
  words.insert(words.end(), arguments.words.begin(), arguments.words.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  if (errno != ENOENT)
    Throw(ErrorCode::kIo, "{}: cannot be started: {}", words[0], std::strerror(errno));
}

int RunTrainer(const std::string& task, const std::string& description, Arguments arguments) {
  if (arguments.description == nullptr) StartTrainer(task, arguments);
  const std::string help = "--help";
  const bool asks =
      std::find(arguments.words.begin(), arguments.words.end(), help) != arguments.words.end();
  if (asks || arguments.description != nullptr) {
    std::optional<std::string> config;
    CommandLine line(task, description,
                     fmt::format("  mixtral {0} {0}.yaml\n"
                                 "  mixtral {0} {0}.yaml --steps 2000 --out runs/a\n"
                                 "  mixtral {0} --help\n",
                                 task));
    line.WithoutSettings();
    line.Optional("CONFIG", &config, "A YAML file; flags of the same names win over it");
    if (asks) arguments.words = std::span(&help, 1);
    line.Parse(arguments);
    return kExitOk;
  }
  Throw(ErrorCode::kNotFound,
        "{}: the program {} is not installed; it is built where these packages are: apt-get "
        "install libtorch-dev libgloo-dev libopenblas0-openmp libyaml-cpp-dev",
        task, kTrainer);
}

}  // namespace

int TrainCommand(Arguments arguments) {
  return RunTrainer("train",
                    "Pretrains a model on token shards that 'mixtral data prepare' made. Needs "
                    "mixtral-train, whose flags --help lists.",
                    arguments);
}

int SftCommand(Arguments arguments) {
  return RunTrainer("sft",
                    "Fine-tunes a model on chats that 'mixtral data sft' made. Needs "
                    "mixtral-train, whose flags --help lists.",
                    arguments);
}

int DpoCommand(Arguments arguments) {
  return RunTrainer("dpo",
                    "Fine-tunes a model on preference pairs that 'mixtral data preferences' made. "
                    "Needs mixtral-train, whose flags --help lists.",
                    arguments);
}

}  // namespace mixtral::cli
