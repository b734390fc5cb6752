// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 server on one I/O thread with a coroutine for each connection: limits, timeouts,
// signals. Knows nothing of what the answers mean. Boost stays in http_server.cc, connection.h and
// connection.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/access_log.h"
#include "server/http.h"

namespace mixtral::server {

struct HttpLimits {
  int max_connections = 4096;                 // more are answered with 503
  size_t header_bytes = 16 << 10;             // request line and headers: 431
  size_t uri_bytes = 8 << 10;                 // 414
  size_t body_bytes = 16 << 20;               // 413
  size_t all_bodies_bytes = size_t{1} << 30;  // of all requests being read or answered: 503
  size_t output_bytes = 1 << 20;   // of one answer waiting for its reader; more: cancelled
  double header_seconds = 10;      // for all headers, from their first byte
  double body_seconds = 60;        // for the whole body
  double keep_alive_seconds = 75;  // between requests, and before the first one
  double stall_seconds = 30;       // one write that gets nowhere
  double ping_seconds = 15;        // a comment in event streams that are silent
};

class HttpServer {
 public:
  using Handler = std::function<void(const ExchangePtr&)>;
  using AccessSink = std::function<void(const AccessEntry&)>;

  /// Both are called on the I/O thread. A handler must not throw.
  HttpServer(const HttpLimits& limits, Handler handler, AccessSink access);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Binds and listens; returns the port (of port 0: the one found). Throws
  /// Error{kInvalidArgument} for a host that is no numeric address or "localhost", Error{kIo}.
  int Listen(const std::string& host, int port);
  /// Called on the I/O thread for SIGTERM and SIGINT (each time).
  void OnSignal(std::function<void(int signal)> fn);
  /// Serves until Stop. on_idle runs on the I/O thread after StopAccepting, once no request is
  /// being answered.
  void Run();
  // Any thread:
  void Post(std::function<void()> fn);
  void Stop();
  // On the I/O thread:
  void After(double seconds, std::function<void()> fn);
  /// No new connections; idle ones are closed, the others after their answer.
  void StopAccepting(std::function<void()> on_idle);
  int n_connections() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mixtral::server
