// SPDX-License-Identifier: Apache-2.0
// Reads a request's JSON fields: absent and null mean the default, a wrong type or range is a 400
// that names the field. Nothing that is not asked for is looked at.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/token_id.h"
#include "server/http.h"

namespace mixtral::server {

/// The body as an object. Throws HttpError 400 for text that is no JSON object, 415 for a content
/// type that is given and is not JSON.
Json ParseBody(const HttpRequest& request);

std::optional<int64_t> IntField(const Json& object, std::string_view name, int64_t min,
                                int64_t max);
std::optional<double> RealField(const Json& object, std::string_view name, double min, double max);
std::optional<bool> BoolField(const Json& object, std::string_view name);
std::optional<std::string> TextField(const Json& object, std::string_view name,
                                     size_t max_bytes = 1 << 20);
/// Throws HttpError 400 unless value is one of names (or absent).
std::string ChoiceField(const Json& object, std::string_view name,
                        std::vector<std::string_view> names, std::string_view otherwise);
/// Throws HttpError 400 with code "unsupported" when the field is there and not null or false.
void RefuseField(const Json& object, std::string_view name, std::string_view why);

/// A string or a list of at most max_items strings.
std::vector<std::string> TextOrTexts(const Json& value, size_t max_items);
/// Throws HttpError 400 for an id outside 0..vocab_size - 1.
std::vector<TokenId> TokenIds(const Json& array, int vocab_size);

}  // namespace mixtral::server
