// SPDX-License-Identifier: Apache-2.0
// Prefers the small file: weights are opened only where the tokenizer is inside them.
#include "cli/tokenizer_file.h"

#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "engine/engine.h"
#include "io/hf_dir.h"
#include "io/sniff.h"
#include "text/tokenizer_files.h"

namespace mixtral::cli {
namespace {

std::unique_ptr<Tokenizer> FromFile(const std::string& path) {
  return WithContext(
      path, [&] { return std::make_unique<Tokenizer>(TokenizerOfBytes(ReadTextFile(path))); });
}

std::unique_ptr<Tokenizer> FromFolder(const std::filesystem::path& folder) {
  return TokenizerOfFolder(folder.string(),
                           [&](std::string_view name) -> std::optional<std::string> {
                             const auto file = folder / name;
                             std::error_code ignored;
                             if (!std::filesystem::is_regular_file(file, ignored))
                               return std::nullopt;
                             return ReadTextFile(file.string());
                           });
}

}  // namespace

std::unique_ptr<Tokenizer> OpenTokenizerAt(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path folder(path);
  if (std::filesystem::is_directory(folder, ignored)) {
    if (auto tokenizer = FromFolder(folder)) return tokenizer;
  } else if (std::filesystem::exists(folder, ignored) &&
             Sniff(ReadHead(path)) != ContentKind::kGguf) {
    return FromFile(path);
  }
  const auto checkpoint = OpenCheckpoint(path);
  auto tokenizer = OpenTokenizer(*checkpoint);
  if (!tokenizer)
    Throw(ErrorCode::kNotFound,
          "tokenizer: expected a tokenizer.model, a tokenizer.json or the tokenizer.ggml.* keys, "
          "found none, in {}",
          path);
  return tokenizer;
}

std::optional<std::string> FindChatTemplateAt(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return ReadFolderChatTemplate(path);
  if (Sniff(ReadHead(path)) != ContentKind::kGguf) return std::nullopt;  // a bare tokenizer.model
  return OpenCheckpoint(path)->chat_template();
}

}  // namespace mixtral::cli
