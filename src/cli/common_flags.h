// SPDX-License-Identifier: Apache-2.0
// Flags that several commands share, with their ranges and what they mean for the library.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.h"
#include "cli/sampling_flags.h"
#include "engine/engine.h"

namespace mixtral::cli {

/// PATH and --log-level: every command has them.
struct PathFlags {
  std::string path, log_level = "warn";

  void AddTo(CommandLine& line, const std::string& path_help);
  void AddLogLevelTo(CommandLine& line);  // for a command whose PATH is optional
  void Apply() const;                     // sets the log level
};

/// How a model is computed.
struct ComputeFlags {
  int threads = 0;
  std::string compute = "fast";
  std::string kv_type;  // empty: by compute
  bool lock = false, no_map = false;
  const bool* is_quiet = nullptr;  // the command's --quiet, added before these; nullptr: none

  void AddTo(CommandLine& line);
  OpenOptions ToOpenOptions() const;
  EngineOptions ToEngineOptions() const;
  DType KvType() const;
};

/// What `run` and `chat` share: context, sampling, when to end.
struct GenerateFlags {
  int64_t context = 0;
  int max_tokens = -1;
  int experts_per_token = 0;
  bool ignore_eos = false;
  SamplingFlags sampling;
  std::vector<std::string> stop;
  std::optional<std::string> routing;  // the trace to record

  void AddTo(CommandLine& line, const std::string& max_tokens_help);
  /// After parsing: refuses empty stop strings, reads --logit-bias, draws a seed where none was
  /// given.
  void CheckAndChooseSeed();
  /// After opening: refuses a --ctx that the model does not have.
  SessionOptions ToSessionOptions(const Engine& engine, DType kv_type) const;
  GenerateOptions ToOptions() const;

 private:
  std::vector<std::string> forced_, banned_;  // expert ids
};

/// Expert ids of --force-expert or --ban-expert; flag names it in errors. Throws UsageError.
std::vector<int> ParseExperts(const std::vector<std::string>& words, std::string_view flag);

/// "1,17,30" or "1 17 30" as token ids; `what` names the flag. Throws UsageError.
std::vector<TokenId> ParseTokenIds(std::string_view text, std::string_view what);

}  // namespace mixtral::cli
