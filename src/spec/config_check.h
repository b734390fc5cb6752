// SPDX-License-Identifier: Apache-2.0
// Shared by the three config readers of spec/ and by ModelConfig::Validate: the names that a format
// gives to our fields, typed reads of them, and the one list of allowed ranges. Private to spec/.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "spec/config.h"

namespace mixtral {

/// What a format calls each field, so that a message names the key that the user can look up.
struct FieldNames {
  std::string_view n_layers, dim, ffn_dim, n_heads, n_kv_heads, head_dim, vocab_size, n_experts,
      experts_per_token, max_context, sliding_window, rope_theta, norm_eps;
};

enum class Vocabulary : uint8_t { kRequired, kMayBeUnknown };  // unknown = vocab_size 0

/// Every field in its range and consistent with the others. Throws Error{kCorrupt}: "KEY: expected
/// RANGE, found VALUE".
void CheckConfig(const ModelConfig& config, const FieldNames& names, Vocabulary vocabulary);

/// Integer members that must fit an int; ranges are CheckConfig's. The second form has a default
/// for an absent or null key.
int ReadInt(const Json& object, std::string_view key);
int ReadInt(const Json& object, std::string_view key, int absent);
/// A number that must fit a float.
float ReadFloat(const Json& object, std::string_view key, float absent);
/// The key is there, even if its value is null.
bool HasKey(const Json& object, std::string_view key);
/// dim / n_heads, where a format leaves head_dim out.
int DerivedHeadDim(const ModelConfig& config, const FieldNames& names);
/// Throws Error{kUnsupported} when key is there and is neither null, false, 0, "" nor empty.
void RefuseFeature(const Json& object, std::string_view key);
/// A scalar as text, an object or array as its kind; for messages.
std::string Shown(const Json& value);

}  // namespace mixtral
