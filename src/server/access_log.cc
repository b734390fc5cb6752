// SPDX-License-Identifier: Apache-2.0
// Names come from a seeded stream of the process: they need to be unique, not secret.
#include "server/access_log.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>

#include "base/rng.h"
#include "server/json_writer.h"

namespace mixtral::server {
namespace {

constexpr size_t kMaxPath = 256, kMaxRequestId = 128;

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsIdCharacter(char c) {
  return IsNameCharacter(c) || c == '.' || c == '_' || c == ':' || c == '-';
}

}  // namespace

std::string RandomName(size_t n) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  static const CounterRng kRng((uint64_t{std::random_device()()} << 32) | std::random_device()());
  static std::atomic<uint64_t> counter = 0;
  std::string name;
  for (size_t i = 0; i < n; ++i) name += kLetters[kRng.Bits(counter++) % kLetters.size()];
  return name;
}

std::string RequestIdOf(const HttpRequest& request) {
  const std::string* given = request.Header("x-request-id");
  if (given != nullptr && !given->empty() && given->size() <= kMaxRequestId &&
      std::all_of(given->begin(), given->end(), IsIdCharacter))
    return *given;
  return "req_" + RandomName(20);
}

std::string AccessLine(const AccessEntry& entry) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  std::string line;
  JsonWriter json(&line);
  json.BeginObject();
  json.Key("time").Real(static_cast<double>(now.count()) / 1000);
  json.Key("request_id").String(entry.facts->request_id);
  json.Key("remote").String(entry.request->remote);
  json.Key("method").String(std::string_view(entry.request->method).substr(0, 16));
  json.Key("path").String(std::string_view(entry.request->path).substr(0, kMaxPath));
  json.Key("status").Int(entry.status);
  json.Key("bytes_in").Int(std::ssize(entry.request->body));
  json.Key("bytes_out").Int(entry.bytes_out);
  json.Key("ms").Real(static_cast<double>(static_cast<int64_t>(entry.seconds * 1e4)) / 10);
  if (entry.facts->prompt_tokens >= 0) {
    json.Key("prompt_tokens").Int(entry.facts->prompt_tokens);
    json.Key("completion_tokens").Int(entry.facts->completion_tokens);
  }
  if (!entry.facts->finish.empty()) json.Key("finish").String(entry.facts->finish);
  if (entry.client_gone) json.Key("client_gone").Bool(true);
  json.EndObject();
  return line;
}

}  // namespace mixtral::server
