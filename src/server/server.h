// SPDX-License-Identifier: Apache-2.0
// `mixtral serve`: HTTP in front of a model. The socket opens first; the model loads behind it, and
// until then requests get 503. Called by cmd_serve.cc.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_server.h"
#include "server/metrics.h"
#include "server/router.h"
#include "server/served_model.h"

namespace mixtral::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0 = any free one
  HttpLimits limits;
  std::vector<std::string> api_keys, cors_origins;
  double drain_seconds = 30;  // for running requests after SIGTERM
  ExpertMetrics expert_metrics = ExpertMetrics::kOff;
  std::string version;
  std::function<void(const std::string& url)> on_listening;
  std::function<void(const ServedModel& model)> on_loaded;  // on the loading thread
  std::function<void(std::string_view line)> access_log;    // may be empty
};

/// Serves until SIGTERM or SIGINT, then lets running requests end (drain_seconds at most); a second
/// signal ends the process at once with exit code 130. Returns the signal. Throws what listening
/// and loading throw.
int RunServer(const ServerOptions& options, const ModelOptions& model);

/// Every endpoint, as the router knows it; for the test that holds docs/api.md against it.
std::vector<Route> Endpoints();

}  // namespace mixtral::server
