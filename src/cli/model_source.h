// SPDX-License-Identifier: Apache-2.0
// The flags that say which model is measured, here or behind an endpoint, and which texts. Shared
// by the commands that measure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "eval/local_model.h"

namespace mixtral::cli {

/// MODEL, or --endpoint URL --model NAME. Added after the command's own flags, --quiet before.
struct ModelSource {
  std::optional<std::string> path, endpoint, model, key_env;
  std::string format, log_level = "warn";
  int concurrency = 8, cache_mib = 0, max_running = 64;
  int64_t context = 0;
  float timeout = 300;
  ComputeFlags compute;

  void AddTo(CommandLine& line);
  /// After parsing: exactly one of the two ways must be there; sets the log level. Throws
  /// UsageError.
  void Check() const;
  bool is_endpoint() const { return endpoint.has_value(); }
  eval::LocalModelOptions ToLocal(const InterruptScope& interrupt) const;
  /// Opens a checkpoint, or connects. Throws what the models throw.
  std::unique_ptr<eval::LanguageModel> Open(const InterruptScope& interrupt) const;
};

/// A text to be scored: a whole file, or one line of a JSONL file.
struct SourceText {
  std::string name;  // of its file
  std::string text;
};

/// -f FILE: text files, JSONL files with "text" in every line, compressed ones, folders, patterns.
struct TextSource {
  std::vector<std::string> files;

  void AddTo(CommandLine& line);
  /// In order; at least one. Throws UsageError without files, what ListInputs and RowReader throw,
  /// and Error{kCorrupt} for a line without a text.
  std::vector<SourceText> Read() const;
};

/// How texts are cut into windows.
struct WindowFlags {
  int64_t stride = 0, limit = 0;
  std::string chunks = "rolling";

  void AddTo(CommandLine& line);
  /// tokens: BOS, then the text.
  std::vector<eval::TokenWindow> Cut(std::span<const TokenId> tokens, int64_t context) const;
};

}  // namespace mixtral::cli
