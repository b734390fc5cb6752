// SPDX-License-Identifier: Apache-2.0
// An easy handle that keeps its connection. Ctrl-C is seen by the progress callback.
#include "eval/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

constexpr double kLongestWait = 30, kLongestRetryAfter = 600;

/// libcurl wants to be initialised once, before threads use it.
void InitialiseCurl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

bool IsWorthRetrying(int status) { return status == 429 || (status >= 500 && status != 501); }

}  // namespace

struct HttpClient::State {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  char error[CURL_ERROR_SIZE] = {};
  std::string body;
  std::optional<double> retry_after;
  const HttpOptions* options = nullptr;
  bool is_too_large = false;

  bool IsCancelled() const { return options->cancel != nullptr && options->cancel->load(); }

  static size_t OnBody(char* data, size_t size, size_t n, void* state_pointer) {
    auto* state = static_cast<State*>(state_pointer);
    state->is_too_large = state->body.size() + size * n > state->options->max_bytes;
    if (state->is_too_large) return 0;
    state->body.append(data, size * n);
    return size * n;
  }
  static size_t OnHeader(char* data, size_t size, size_t n, void* state_pointer) {
    constexpr std::string_view kName = "retry-after:";
    std::string line(data, size * n);
    const bool is_it = line.size() > kName.size() &&
                       std::equal(kName.begin(), kName.end(), line.begin(), [](char a, char b) {
                         return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
                       });
    if (is_it)
      static_cast<State*>(state_pointer)->retry_after = ParseRetryAfter(line.substr(kName.size()));
    return size * n;
  }
  static int OnProgress(void* state_pointer, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<State*>(state_pointer)->IsCancelled() ? 1 : 0;
  }
};

std::optional<double> ParseRetryAfter(const std::string& value) {
  char* end = nullptr;
  const double seconds = std::strtod(value.c_str(), &end);
  if (end == value.c_str() || !std::isfinite(seconds) || seconds < 0) return std::nullopt;
  return std::min(seconds, kLongestRetryAfter);
}

HttpClient::HttpClient(const HttpOptions& options)
    : options_(options), state_(std::make_unique<State>()) {
  InitialiseCurl();
  state_->options = &options_;
  state_->easy = curl_easy_init();
  if (state_->easy == nullptr) Throw(ErrorCode::kOutOfMemory, "http: libcurl does not start");
  state_->headers = curl_slist_append(nullptr, "Content-Type: application/json");
  if (!options_.key.empty())
    state_->headers =
        curl_slist_append(state_->headers, ("Authorization: Bearer " + options_.key).c_str());
  CURL* easy = state_->easy;
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, state_->headers);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, state_->error);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &State::OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, state_.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &State::OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, state_.get());
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &State::OnProgress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, state_.get());
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);  // other threads run
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // A server that sends us elsewhere would get the key there.
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 30L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout_seconds * 1000));
}

HttpClient::~HttpClient() {
  curl_slist_free_all(state_->headers);
  curl_easy_cleanup(state_->easy);
}

std::optional<HttpAnswer> HttpClient::Get(const std::string& url) { return Send(url, nullptr); }
std::optional<HttpAnswer> HttpClient::Post(const std::string& url, const std::string& json) {
  return Send(url, &json);
}

std::optional<HttpAnswer> HttpClient::Send(const std::string& url, const std::string* json) {
  for (int n_failed = 0;; ++n_failed) {
    const bool is_last = n_failed + 1 >= options_.n_tries;
    const std::optional<HttpAnswer> answer = Try(url, json);
    if (state_->IsCancelled()) return std::nullopt;
    if (answer && (!IsWorthRetrying(answer->status) || is_last)) return answer;
    if (!answer && is_last)
      Throw(ErrorCode::kIo, "expected an answer, found none after {} tries ({}), from {}",
            options_.n_tries, Printable(state_->error), Printable(url, 200));
    if (!Wait(n_failed)) return std::nullopt;
  }
}

/// nullopt: no answer, for the reason in state_->error.
std::optional<HttpAnswer> HttpClient::Try(const std::string& url, const std::string* json) {
  State& state = *state_;
  state.body.clear();
  state.retry_after.reset();
  state.is_too_large = false;
  state.error[0] = '\0';
  curl_easy_setopt(state.easy, CURLOPT_URL, url.c_str());
  if (json != nullptr) {
    curl_easy_setopt(state.easy, CURLOPT_POST, 1L);
    curl_easy_setopt(state.easy, CURLOPT_POSTFIELDS, json->c_str());
    curl_easy_setopt(state.easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(json->size()));
  } else {
    curl_easy_setopt(state.easy, CURLOPT_HTTPGET, 1L);
  }
  const CURLcode code = curl_easy_perform(state.easy);
  if (state.is_too_large)
    Throw(ErrorCode::kUnsupported, "expected an answer of at most {}, found a larger one, from {}",
          HumanBytes(options_.max_bytes), Printable(url, 200));
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
    Throw(ErrorCode::kInvalidArgument, "endpoint: expected http://HOST:PORT/v1, found '{}'",
          Printable(url, 200));
  if (code == CURLE_OPERATION_TIMEDOUT)
    Throw(ErrorCode::kIo, "expected an answer within {} s, found none, from {}",
          options_.timeout_seconds, Printable(url, 200));
  if (code != CURLE_OK) return std::nullopt;
  long status = 0;
  curl_easy_getinfo(state.easy, CURLINFO_RESPONSE_CODE, &status);
  return HttpAnswer{static_cast<int>(status), state.body};
}

/// false: cancelled while waiting.
bool HttpClient::Wait(int n_failed) {
  const double backoff =
      std::min(kLongestWait, options_.first_wait_seconds * std::pow(2, n_failed));
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::duration<double>(state_->retry_after.value_or(backoff));
  while (std::chrono::steady_clock::now() < end) {
    if (state_->IsCancelled()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return !state_->IsCancelled();
}

}  // namespace mixtral::eval
