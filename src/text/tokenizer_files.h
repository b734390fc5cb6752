// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a model folder from the files that lie beside the weights: tokenizer.model with
// the tokens that other files add to it, or tokenizer.json alone. Reads no files itself; called by
// engine and cli.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mixtral {

/// "added_tokens_decoder" of a tokenizer_config.json, ascending; empty when it has none.
std::vector<AddedToken> AddedTokensOfConfig(std::string_view tokenizer_config);
/// An added_tokens.json, {"content": id}, ascending. It does not say which are special: all are, so
/// that no text can bring them in.
std::vector<AddedToken> AddedTokensOfMap(std::string_view added_tokens);

/// Bytes of a small file beside the weights by its name; nullopt when it is not there.
using ReadSideFile = std::function<std::optional<std::string>(std::string_view name)>;

/// tokenizer.model and what tokenizer_config.json or else added_tokens.json add to it; without one,
/// tokenizer.json, which has its added tokens inside. nullptr when neither is there. Throws
/// Error{kCorrupt, kUnsupported} that ends with ", in FOLDER/NAME".
std::unique_ptr<Tokenizer> TokenizerOfFolder(const std::string& folder, const ReadSideFile& read);

/// One file: tokenizer.json when it begins like JSON, else tokenizer.model.
Tokenizer TokenizerOfBytes(std::string_view bytes);

}  // namespace mixtral
