// SPDX-License-Identifier: Apache-2.0
// HTTP as the handlers see it: a request, an answer, and the exchange that joins them. No socket
// here; connection.cc implements Exchange, tests do so in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mixtral::server {

struct HttpRequest {
  std::string method, path;                                  // path without the query
  std::string query;                                         // after '?', not decoded
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string remote;  // "127.0.0.1:40123"

  /// The first header of this (lower-case) name; nullptr when there is none.
  const std::string* Header(std::string_view name) const;
  /// A query parameter's text, not decoded.
  std::optional<std::string> QueryValue(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

/// What an exchange was about, for the access log and the metrics.
struct ExchangeFacts {
  std::string request_id, handler;
  int64_t prompt_tokens = -1, completion_tokens = -1;  // -1 = none were counted
  std::string finish;
};

/// One request and its answer. Everything but Post happens on the I/O thread.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual ExchangeFacts& facts() = 0;
  /// Runs fn on the I/O thread, in order. Any thread; fn may outlive the client.
  virtual void Post(std::function<void()> fn) = 0;
  /// Headers of whatever answer comes.
  virtual void AddHeader(std::string name, std::string value) = 0;
  /// The whole answer. Ignored when one was begun or the client has gone.
  virtual void Reply(HttpReply reply) = 0;
  /// An answer in parts: server-sent events.
  virtual void BeginEvents() = 0;
  virtual bool has_begun_events() const = 0;
  virtual void Write(std::string_view text) = 0;
  /// ends_well false: the connection is closed without the end mark of the body.
  enum class End : uint8_t { kComplete, kBroken };
  virtual void EndEvents(End end) = 0;
  virtual bool is_over() const = 0;  // answered, or the client has gone
  /// fn runs once if the client goes (or stalls) before the answer is over; at once if it has gone.
  virtual void OnGone(std::function<void()> fn) = 0;
};

using ExchangePtr = std::shared_ptr<Exchange>;

/// A request that is answered with an error status. param names the field, "" for none.
class HttpError : public Error {
 public:
  HttpError(int status, const std::string& message, std::string param = "", std::string code = "")
      : Error(ErrorCode::kInvalidArgument, message),
        status_(status),
        param_(std::move(param)),
        code_(std::move(code)) {}
  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& api_code() const { return code_; }
  int retry_after = 0;                       // seconds; 0 = no such header
  int64_t n_prompt_tokens = -1, n_ctx = -1;  // of a prompt that does not fit
  std::string type;                          // "" = by the status

 private:
  int status_;
  std::string param_, code_;
};

/// Throws HttpError 400 for a field.
template <class... Args>
[[noreturn]] void ThrowField(std::string_view param, fmt::format_string<Args...> format,
                             Args&&... args) {
  throw HttpError(400,
                  fmt::format("{}: {}", param, fmt::format(format, std::forward<Args>(args)...)),
                  std::string(param));
}

/// How errors are written: OpenAI's {"error": {...}} or Anthropic's {"type": "error", ...}.
enum class ErrorStyle : uint8_t { kOpenAi, kAnthropic };

std::string_view StatusText(int status);
std::string ErrorBody(const HttpError& error, ErrorStyle style);
HttpReply ErrorReply(const HttpError& error, ErrorStyle style = ErrorStyle::kOpenAi);
/// Any Error as the answer it deserves: "$.a.b: ..." and "a.b: ..." name the param.
HttpError ToHttpError(const Error& error);

}  // namespace mixtral::server
