// SPDX-License-Identifier: Apache-2.0
// The fetch standard's headers. A listed origin is reflected, so that credentials work; "*" is
// answered as "*", which browsers never combine with credentials.
#include "server/cors.h"

#include <algorithm>

namespace mixtral::server {

bool Cors::IsAllowed(const std::string& origin) const {
  return std::any_of(origins_.begin(), origins_.end(), [&](const std::string& allowed) {
    return allowed == "*" || allowed == origin;
  });
}

bool Cors::Handle(Exchange& exchange) const {
  const HttpRequest& request = exchange.request();
  const std::string* origin = request.Header("origin");
  const bool is_allowed = origin != nullptr && IsAllowed(*origin);
  if (is_allowed) {
    const bool any = std::find(origins_.begin(), origins_.end(), "*") != origins_.end();
    exchange.AddHeader("Access-Control-Allow-Origin", any ? "*" : *origin);
    exchange.AddHeader("Vary", "Origin");
    exchange.AddHeader("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    if (!any) exchange.AddHeader("Access-Control-Allow-Credentials", "true");
  }
  if (request.method != "OPTIONS") return false;
  if (is_allowed) {
    exchange.AddHeader("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    const std::string* asked = request.Header("access-control-request-headers");
    exchange.AddHeader("Access-Control-Allow-Headers",
                       asked != nullptr ? *asked : "Authorization, Content-Type, X-Api-Key");
    exchange.AddHeader("Access-Control-Max-Age", "600");
  }
  exchange.Reply({.status = 204, .body = "", .content_type = ""});
  return true;
}

}  // namespace mixtral::server
