// SPDX-License-Identifier: Apache-2.0
// Status texts and error bodies.
#include "server/http.h"

#include <algorithm>

#include "base/strings.h"
#include "server/json_writer.h"

namespace mixtral::server {
namespace {

constexpr size_t kMaxMessage = 500;

struct StatusRow {
  int status;
  std::string_view text, type;
};

constexpr StatusRow kStatuses[] = {
    {200, "OK", ""},
    {204, "No Content", ""},
    {400, "Bad Request", "invalid_request_error"},
    {401, "Unauthorized", "authentication_error"},
    {403, "Forbidden", "permission_error"},
    {404, "Not Found", "not_found_error"},
    {405, "Method Not Allowed", "invalid_request_error"},
    {408, "Request Timeout", "invalid_request_error"},
    {413, "Content Too Large", "invalid_request_error"},
    {414, "URI Too Long", "invalid_request_error"},
    {415, "Unsupported Media Type", "invalid_request_error"},
    {429, "Too Many Requests", "rate_limit_error"},
    {431, "Request Header Fields Too Large", "invalid_request_error"},
    {500, "Internal Server Error", "server_error"},
    {501, "Not Implemented", "not_supported_error"},
    {503, "Service Unavailable", "unavailable_error"},
};

const StatusRow& RowOf(int status) {
  const auto* row = std::find_if(std::begin(kStatuses), std::end(kStatuses),
                                 [status](const StatusRow& r) { return r.status == status; });
  return row == std::end(kStatuses) ? RowOf(500) : *row;
}

std::string_view AnthropicType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

/// "$.messages[0].role: expected ..." and "temperature: expected ..." -> the field; "" for others.
std::string ParamOf(std::string_view message) {
  const size_t colon = message.find(": ");
  if (colon == std::string_view::npos) return "";
  std::string_view name = message.substr(0, colon);
  if (name.starts_with("$.")) name.remove_prefix(2);
  const bool is_path = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '[' ||
           c == ']';
  });
  return is_path && name.size() <= 100 ? std::string(name) : "";
}

}  // namespace

const std::string* HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return &value;
  return nullptr;
}

std::optional<std::string> HttpRequest::QueryValue(std::string_view name) const {
  for (const std::string_view part : Split(query, '&')) {
    const size_t equals = std::min(part.find('='), part.size());
    if (part.substr(0, equals) == name)
      return std::string(part.substr(std::min(equals + 1, part.size())));
  }
  return std::nullopt;
}

std::string_view StatusText(int status) { return RowOf(status).text; }

std::string ErrorBody(const HttpError& error, ErrorStyle style) {
  std::string text;
  JsonWriter json(&text);
  const std::string message = Printable(error.what(), kMaxMessage);
  if (style == ErrorStyle::kAnthropic) {
    json.BeginObject().Key("type").String("error").Key("error").BeginObject();
    json.Key("type").String(AnthropicType(error.status())).Key("message").String(message);
    json.EndObject().EndObject();
    return text;
  }
  json.BeginObject().Key("error").BeginObject();
  json.Key("message").String(message);
  json.Key("type").String(error.type.empty() ? RowOf(error.status()).type
                                             : std::string_view(error.type));
  json.Key("param").StringOrNull(error.param());
  if (error.status() == 503 && error.api_code().empty())
    json.Key("code").Int(503);  // what clients of other servers look for while a model loads
  else
    json.Key("code").StringOrNull(error.api_code());
  if (error.n_prompt_tokens >= 0)
    json.Key("n_prompt_tokens").Int(error.n_prompt_tokens).Key("n_ctx").Int(error.n_ctx);
  json.EndObject().EndObject();
  return text;
}

HttpReply ErrorReply(const HttpError& error, ErrorStyle style) {
  HttpReply reply{.status = error.status(), .body = ErrorBody(error, style)};
  if (error.retry_after > 0)
    reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after));
  return reply;
}

HttpError ToHttpError(const Error& error) {
  if (const auto* http = dynamic_cast<const HttpError*>(&error)) return *http;
  if (error.code() == ErrorCode::kInternal) return {500, error.what()};
  if (error.code() == ErrorCode::kUnsupported)
    return {400, error.what(), ParamOf(error.what()), "unsupported"};
  if (error.code() == ErrorCode::kOutOfMemory || error.code() == ErrorCode::kIo)
    return {500, error.what()};
  std::string message = error.what();
  const std::string param = ParamOf(message);
  if (message.starts_with("$.")) message.erase(0, 2);
  return {400, message, param};
}

}  // namespace mixtral::server
