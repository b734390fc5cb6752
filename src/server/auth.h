// SPDX-License-Identifier: Apache-2.0
// API keys: several of them, from flags and a file, compared in constant time and never logged.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace mixtral::server {

/// One key a line; empty lines and lines that begin with '#' are left out, spaces around a key
/// are dropped. Throws Error{kInvalidArgument} naming `where` and the line for a key with
/// characters that no header can carry, and for a file without a key.
std::vector<std::string> ParseKeyFile(std::string_view text, std::string_view where);

class Auth {
 public:
  /// No keys: everybody may do everything.
  explicit Auth(std::vector<std::string> keys) : keys_(std::move(keys)) {}
  bool is_on() const { return !keys_.empty(); }
  /// Throws HttpError 401 unless the request carries one of the keys, as "Authorization: Bearer
  /// KEY" or "X-Api-Key: KEY".
  void Check(const HttpRequest& request) const;

 private:
  bool IsKey(std::string_view presented) const;

  std::vector<std::string> keys_;
};

}  // namespace mixtral::server
