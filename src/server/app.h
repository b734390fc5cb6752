// SPDX-License-Identifier: Apache-2.0
// From a request to its handler: request id, CORS, key, readiness, route, errors. Holds what
// handlers work with.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/auth.h"
#include "server/cors.h"
#include "server/generation.h"
#include "server/router.h"
#include "server/server.h"
#include "server/task_queue.h"

namespace mixtral::server {

class App {
 public:
  App(const ServerOptions& options, const std::string& model_name);

  // All on the I/O thread.
  void Handle(const ExchangePtr& exchange);
  void OnAnswered(const AccessEntry& entry);
  void SetModel(std::shared_ptr<ServedModel> model);
  void Drain();
  /// After the I/O thread has ended: the worker stops, then the service and the model go.
  void Close();
  const std::vector<Route>& routes() const { return router_.routes(); }

  std::function<int()> connections = [] { return 0; };

 private:
  using Handler = void (*)(const ExchangePtr& exchange, const HandlerContext& context);

  void AddRoutes();
  void AddWorker(std::string_view path, std::string_view name, Handler handler,
                 ErrorStyle style = ErrorStyle::kOpenAi);
  void AddInfo(std::string_view path, std::string_view name, Access access,
               std::function<HttpReply(const HttpRequest&)> reply);
  const ServedModel& Model() const;  // throws HttpError 503 while loading
  HttpError NotReady() const;
  HttpReply Health() const;
  HttpReply MetricsText() const;
  void Dispatch(const ExchangePtr& exchange, const Route& route);

  std::string version_;
  std::function<void(std::string_view)> access_log_;
  Auth auth_;
  Cors cors_;
  Router router_;
  Metrics metrics_;
  std::shared_ptr<ServedModel> model_;
  HandlerContext context_;
  bool is_draining_ = false;
  std::unique_ptr<TaskQueue> worker_;
};

}  // namespace mixtral::server
