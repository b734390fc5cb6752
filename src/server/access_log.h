// SPDX-License-Identifier: Apache-2.0
// One JSON line for every request: who, what, how long, how it ended. Never the text of a prompt or
// an answer, a key or a query.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/http.h"

namespace mixtral::server {

struct AccessEntry {
  const HttpRequest* request = nullptr;
  const ExchangeFacts* facts = nullptr;
  int status = 0;
  int64_t bytes_out = 0;
  double seconds = 0;
  bool client_gone = false;
};

/// A line without its end; control characters in what the client sent are escaped.
std::string AccessLine(const AccessEntry& entry);

/// The client's X-Request-Id if it is 1 to 128 of [A-Za-z0-9._:-], else a new one.
std::string RequestIdOf(const HttpRequest& request);
/// n random letters and digits.
std::string RandomName(size_t n);

}  // namespace mixtral::server
