// SPDX-License-Identifier: Apache-2.0
// Method and path -> the handler. Every path is also served without its /v1, since clients differ
// in what they take for the base URL.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace mixtral::server {

enum class Access : uint8_t { kPublic, kKey };
enum class Runs : uint8_t {
  kOnIo,      // short: answers at once on the I/O thread
  kOnWorker,  // reads a body and tokenizes: on the worker thread; needs the model
};

struct Route {
  std::string_view method, path;  // a path that ends in "/*" takes one more part
  std::string_view handler;       // for metrics and the log
  Access access = Access::kKey;
  Runs runs = Runs::kOnWorker;
  std::function<void(const ExchangePtr&)> run;
  ErrorStyle error_style = ErrorStyle::kOpenAi;
};

class Router {
 public:
  void Add(Route route) { routes_.push_back(std::move(route)); }
  /// Throws HttpError 404 for an unknown path, 405 (listing what is allowed) for another method.
  const Route& Find(std::string_view method, std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace mixtral::server
