// SPDX-License-Identifier: Apache-2.0
// A tokenizer together with its file's bytes, which travel with the shards that it made. Called by
// `mixtral data`.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace mixtral::data {

struct TokenizerFile {
  std::string name;  // "tokenizer.model" or "tokenizer.json"
  std::string bytes, sha256;
  Tokenizer tokenizer;
};

/// path: a tokenizer.model or tokenizer.json (the content decides), or a folder that holds one.
/// Throws Error{kNotFound} for a folder without, and what Tokenizer throws.
TokenizerFile ReadTokenizerFile(const std::string& path);

}  // namespace mixtral::data
