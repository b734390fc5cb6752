// SPDX-License-Identifier: Apache-2.0
// A list is enough: there are about twenty routes.
#include "server/router.h"

#include <algorithm>

#include "base/strings.h"

namespace mixtral::server {
namespace {

constexpr std::string_view kVersion = "/v1";

bool Matches(std::string_view route, std::string_view path) {
  if (!route.ends_with("/*")) return route == path;
  const std::string_view begin = route.substr(0, route.size() - 1);
  return path.starts_with(begin) && path.size() > begin.size();
}

bool MatchesWithOrWithoutVersion(std::string_view route, std::string_view path) {
  if (Matches(route, path)) return true;
  if (route.starts_with(kVersion)) return Matches(route.substr(kVersion.size()), path);
  return path.starts_with(kVersion) && Matches(route, path.substr(kVersion.size()));
}

}  // namespace

const Route& Router::Find(std::string_view method, std::string_view path) const {
  std::vector<std::string> allowed;
  for (const Route& route : routes_) {
    if (!MatchesWithOrWithoutVersion(route.path, path)) continue;
    if (route.method == method) return route;
    allowed.emplace_back(route.method);
  }
  if (allowed.empty())
    throw HttpError(404, fmt::format("no such endpoint: {} {}", method, Printable(path)), "",
                    "unknown_url");
  throw HttpError(405,
                  fmt::format("{} takes {}, found {}", Printable(path), Join(allowed, ", "),
                              Printable(method, 20)),
                  "", "method_not_allowed");
}

}  // namespace mixtral::server
