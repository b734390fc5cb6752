// SPDX-License-Identifier: Apache-2.0
// Every key is compared in full, whatever the first ones said, so the time depends on the length of
// what was presented and on our keys' lengths alone.
#include "server/auth.h"

#include <algorithm>

#include "base/strings.h"

namespace mixtral::server {
namespace {

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

bool IsEqual(std::string_view presented, std::string_view key) {
  volatile unsigned difference = presented.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < key.size(); ++i) {
    const char c = presented.empty() ? '\0' : presented[i % presented.size()];
    difference = difference | static_cast<unsigned char>(c ^ key[i]);
  }
  return difference == 0;
}

/// "bearer", in any case, and one or more spaces.
std::string_view BearerKey(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() < kScheme.size()) return "";
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = header[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kScheme[i]) return "";
  }
  return Trim(header.substr(kScheme.size()));
}

}  // namespace

std::vector<std::string> ParseKeyFile(std::string_view text, std::string_view where) {
  std::vector<std::string> keys;
  size_t number = 0;
  for (const std::string_view line : Split(text, '\n')) {
    ++number;
    const std::string_view key = Trim(line);
    if (key.empty() || key[0] == '#') continue;
    if (!std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < '\x7F'; }))
      Throw(ErrorCode::kInvalidArgument,
            "API key: expected printable ASCII without spaces, found another character, in {}:{}",
            where, number);
    keys.emplace_back(key);
  }
  if (keys.empty())
    Throw(ErrorCode::kInvalidArgument, "API keys: expected one a line, found none, in {}", where);
  return keys;
}

bool Auth::IsKey(std::string_view presented) const {
  bool found = false;
  for (const std::string& key : keys_) found |= IsEqual(presented, key);
  return found;
}

void Auth::Check(const HttpRequest& request) const {
  if (!is_on()) return;
  const std::string* bearer = request.Header("authorization");
  const std::string* plain = request.Header("x-api-key");
  const bool by_bearer = bearer != nullptr && IsKey(BearerKey(*bearer));
  const bool by_header = plain != nullptr && IsKey(Trim(*plain));
  if (by_bearer || by_header) return;
  if (bearer == nullptr && plain == nullptr)
    throw HttpError(401,
                    "no API key: expected 'Authorization: Bearer KEY' or 'X-Api-Key: KEY', found "
                    "neither",
                    "", "missing_api_key");
  throw HttpError(401, "the API key is not one of this server's", "", "invalid_api_key");
}

}  // namespace mixtral::server
