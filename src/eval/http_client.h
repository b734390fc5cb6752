// SPDX-License-Identifier: Apache-2.0
// One HTTP request after the other through libcurl (included by http_client.cc alone): JSON in,
// whatever the server says out, within limits of time and size. Tries again where that helps.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace mixtral::eval {

struct HttpOptions {
  std::string key;  // sent as a bearer token; never part of an error
  double timeout_seconds = 300;
  size_t max_bytes = size_t{64} << 20;  // of an answer
  int n_tries = 6;                      // of a request that meets 429, 5xx or no connection
  double first_wait_seconds = 0.5;  // doubles with every try, at most 30; Retry-After comes first
  const std::atomic<bool>* cancel = nullptr;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
};

/// Of one thread.
class HttpClient {
 public:
  explicit HttpClient(const HttpOptions& options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// The server's answer with any status, after all tries; nullopt when cancelled. Throws
  /// Error{kIo} when there is no answer (no connection, too slow), Error{kUnsupported} when it is
  /// too large.
  std::optional<HttpAnswer> Get(const std::string& url);
  std::optional<HttpAnswer> Post(const std::string& url, const std::string& json);

 private:
  struct State;
  std::optional<HttpAnswer> Send(const std::string& url, const std::string* json);
  std::optional<HttpAnswer> Try(const std::string& url, const std::string* json);
  bool Wait(int n_failed);

  HttpOptions options_;
  std::unique_ptr<State> state_;
};

/// Seconds of a Retry-After header: a number, or nullopt for a date or nonsense.
std::optional<double> ParseRetryAfter(const std::string& value);

}  // namespace mixtral::eval
