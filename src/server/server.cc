// SPDX-License-Identifier: Apache-2.0
// What happens to a request before its handler (CORS, keys, readiness) and to the process at its
// end.
#include "server/server.h"

#include <csignal>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>

#include "base/log.h"
#include "server/app.h"

namespace mixtral::server {
namespace {

constexpr int kExitInterrupted = 130;

class Lifecycle {
 public:
  Lifecycle(const ServerOptions& options, const ModelOptions& model)
      : options_(options),
        model_(model),
        app_(options, model.names.front()),
        http_(
            options.limits, [this](const ExchangePtr& exchange) { app_.Handle(exchange); },
            [this](const AccessEntry& entry) { app_.OnAnswered(entry); }) {
    app_.connections = [this] { return http_.n_connections(); };
  }

  int Run() {
    const int port = http_.Listen(options_.host, options_.port);
    const bool is_v6 = options_.host.find(':') != std::string::npos;
    options_.on_listening(is_v6 ? fmt::format("http://[{}]:{}", options_.host, port)
                                : fmt::format("http://{}:{}", options_.host, port));
    http_.OnSignal([this](int signal) { OnSignal(signal); });
    std::thread loader([this] { Load(); });
    http_.Run();
    loader.join();
    app_.Close();
    if (failure_) std::rethrow_exception(failure_);
    return signal_;
  }

 private:
  void Load() {
    try {
      auto model = std::make_shared<ServedModel>(model_);
      options_.on_loaded(*model);
      http_.Post([this, model] { app_.SetModel(model); });
    } catch (...) {
      failure_ = std::current_exception();
      http_.Stop();
    }
  }

  void OnSignal(int signal) {
    if (signal_ != 0) std::_Exit(kExitInterrupted);
    signal_ = signal;
    Log(LogLevel::kInfo, "shutting down: running requests have {} s", options_.drain_seconds);
    app_.Drain();
    http_.StopAccepting([this] { http_.Stop(); });
    http_.After(options_.drain_seconds, [this] { http_.Stop(); });
  }

  const ServerOptions& options_;
  const ModelOptions& model_;
  App app_;
  HttpServer http_;
  int signal_ = 0;
  std::exception_ptr failure_;  // of loading; read after the thread has ended
};

}  // namespace

int RunServer(const ServerOptions& options, const ModelOptions& model) {
  return Lifecycle(options, model).Run();
}

std::vector<Route> Endpoints() {
  App app({}, "");
  return app.routes();
}

}  // namespace mixtral::server
