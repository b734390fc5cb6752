// SPDX-License-Identifier: Apache-2.0
// Which web pages of other origins may call the server: none unless listed.
#pragma once

#include <string>
#include <vector>

#include "server/http.h"

namespace mixtral::server {

class Cors {
 public:
  /// Origins such as "https://example.org"; "*" allows every one.
  explicit Cors(std::vector<std::string> origins) : origins_(std::move(origins)) {}
  /// Adds the headers that an allowed origin needs. true: it was a preflight (OPTIONS) and is
  /// answered.
  bool Handle(Exchange& exchange) const;

 private:
  bool IsAllowed(const std::string& origin) const;
  std::vector<std::string> origins_;
};

}  // namespace mixtral::server
