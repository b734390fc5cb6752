// SPDX-License-Identifier: Apache-2.0
// What a folder of token shards holds, for people and as JSON. Used by the actions of `mixtral
// data`.
#pragma once

#include <string>

#include "base/json.h"

namespace mixtral::cli {

/// {"folder", "kind", "vocab_size", "token_dtype", "tokenizer_sha256", "chat_format", "domains":
/// [{"domain", "train": {...}, "heldout": {...}, "share", "rows", ...}], "total": {...},
/// "wrong_rows"}. Sums over shards.json, and what prepare.json says where there is one. Throws what
/// ReadShardSet throws.
Json MakeShardsReport(const std::string& folder);
std::string ShardsReportText(const Json& report);

}  // namespace mixtral::cli
