// SPDX-License-Identifier: Apache-2.0
// The content decides between the two formats, as everywhere.
#include "data/tokenizer_file.h"

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"

namespace mixtral::data {
namespace {

namespace fs = std::filesystem;

std::string FileAt(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return path;
  for (const char* name : {"/tokenizer.model", "/tokenizer.json"})
    if (fs::is_regular_file(path + name, ignored)) return path + name;
  Throw(ErrorCode::kNotFound,
        "{}: expected tokenizer.model or tokenizer.json in the folder, found neither", path);
}

}  // namespace

TokenizerFile ReadTokenizerFile(const std::string& path) {
  const std::string file = FileAt(path);
  std::string bytes = ReadTextFile(file);
  return WithContext(file, [&] {
    if (bytes.starts_with("GGUF"))
      Throw(ErrorCode::kUnsupported,
            "tokenizer: expected tokenizer.model or tokenizer.json, found a "
            "GGUF file");
    const size_t first = bytes.find_first_not_of(" \t\r\n");
    const bool is_json = first != std::string::npos && bytes[first] == '{';
    Tokenizer tokenizer =
        is_json ? Tokenizer::FromTokenizerJson(bytes) : Tokenizer::FromSentencePiece(bytes);
    std::string sha256 = Sha256Hex(bytes);
    return TokenizerFile{is_json ? "tokenizer.json" : "tokenizer.model", std::move(bytes),
                         std::move(sha256), std::move(tokenizer)};
  });
}

}  // namespace mixtral::data
