// SPDX-License-Identifier: Apache-2.0
// As many threads as requests at once, each with a connection of its own; answers are handed over
// on the caller's thread.
#include "eval/endpoint_model.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "base/strings.h"
#include "eval/endpoint_answer.h"
#include "eval/http_client.h"
#include "eval/text_windows.h"

namespace mixtral::eval {
namespace {

constexpr int64_t kContextUnknown = 4096, kBytesPerToken = 4;
constexpr size_t kSmallestPiece = 64;  // bytes of a text that a server could find too long

HttpOptions ToHttp(const EndpointOptions& options, const std::atomic<bool>* cancel) {
  return {.key = options.key,
          .timeout_seconds = options.timeout_seconds,
          .first_wait_seconds = options.first_wait_seconds,
          .cancel = cancel};
}

std::string BaseUrl(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos)
    Throw(ErrorCode::kInvalidArgument, "endpoint: expected http://HOST:PORT/v1, found '{}'",
          Printable(url, 200));
  if (url.find('/', scheme + 3) == std::string::npos) url += "/v1";
  return url;
}

/// Thrown by work that was cancelled, to leave its thread.
class Cancelled {};

/// work(client, index) for all indices on several threads; done(index, result) here.
template <class Result>
class Fan {
 public:
  using Work = std::function<Result(HttpClient& client, size_t index)>;
  using Done = std::function<void(size_t index, Result&& result)>;

  Fan(const EndpointOptions& options, size_t n) : options_(options), n_(n) {}

  void Run(const Work& work, const Done& done) {
    std::vector<std::jthread> threads;  // joined when they have seen stop_
    const StopAtEnd stop_at_end{&stop_};
    for (size_t i = 0; i < std::min(n_, static_cast<size_t>(options_.concurrency)); ++i)
      threads.emplace_back([this, &work] { WorkOn(work); });
    for (size_t n_done = 0; n_done < n_; ++n_done) {
      std::unique_lock lock(mutex_);
      while (results_.empty() && !error_ && !IsCancelled())
        news_.wait_for(lock, std::chrono::milliseconds(100));
      if (results_.empty() && error_) std::rethrow_exception(error_);
      if (results_.empty()) return;
      auto [index, result] = std::move(results_.front());
      results_.pop_front();
      lock.unlock();
      done(index, std::move(result));
    }
  }

 private:
  struct StopAtEnd {
    std::atomic<bool>* stop;
    ~StopAtEnd() { stop->store(true); }
  };
  bool IsCancelled() const { return options_.cancel != nullptr && options_.cancel->load(); }

  void WorkOn(const Work& work) {
    try {
      HttpClient client(ToHttp(options_, &stop_));
      for (size_t i = next_++; i < n_ && !stop_.load(); i = next_++) {
        Result result = work(client, i);
        const std::lock_guard lock(mutex_);
        results_.emplace_back(i, std::move(result));
        news_.notify_one();
      }
    } catch (const Cancelled&) {
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      stop_.store(true);
      news_.notify_one();
    }
  }

  const EndpointOptions& options_;
  size_t n_;
  std::atomic<bool> stop_ = false;
  std::atomic<size_t> next_ = 0;
  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<std::pair<size_t, Result>> results_;
  std::exception_ptr error_;
};

class EndpointModel final : public LanguageModel {
 public:
  explicit EndpointModel(const EndpointOptions& options) : options_(options) {
    options_.url = BaseUrl(options.url);
    AskForModels();
  }

  void Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) override {
    for (const ContinuationRequest& request : requests)
      if (request.continuation.empty())
        Throw(ErrorCode::kInvalidArgument, "continuation: expected a text, found an empty one");
    Fan<Likelihood>(options_, requests.size())
        .Run(
            [&](HttpClient& client, size_t i) {
              const SplitText split =
                  SplitBeforeSpaces(requests[i].context, requests[i].continuation);
              const std::string prompt = split.context + split.continuation;
              Likelihood likelihood = LikelihoodAfter(Echo(client, prompt), split.context);
              likelihood.token_logprobs.clear();
              return likelihood;
            },
            [&](size_t i, Likelihood&& likelihood) { done(i, likelihood); });
  }

  void Roll(std::span<const std::string> texts, const OnLikelihood& done) override {
    Fan<Likelihood>(options_, texts.size())
        .Run(
            [&](HttpClient& client, size_t i) {
              Likelihood sum;
              sum.is_greedy = true;
              const auto piece_bytes = static_cast<size_t>(2 * max_tokens());
              for (std::string_view rest = texts[i]; !rest.empty();) {
                const std::string_view piece = PieceOf(rest, piece_bytes);
                AddPiece(client, std::string(piece), &sum);
                rest.remove_prefix(piece.size());
              }
              return sum;
            },
            [&](size_t i, Likelihood&& likelihood) { done(i, likelihood); });
  }

  void Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) override {
    Fan<GeneratedAnswers>(options_, requests.size())
        .Run(
            [&](HttpClient& client, size_t i) {
              const char* path =
                  requests[i].messages.empty() ? "/completions" : "/chat/completions";
              const Json answer = Ask(client, path, BodyOf(requests[i]));
              return WithContext(options_.url, [&] { return ParseTexts(answer, requests[i].n); });
            },
            [&](size_t i, GeneratedAnswers&& answers) { done(i, answers); });
  }

  int64_t CountTokens(const std::string& text) override {
    return (std::ssize(text) + kBytesPerToken - 1) / kBytesPerToken;
  }
  int64_t max_tokens() const override { return options_.max_tokens; }
  std::string name() const override { return options_.url + " " + options_.model; }
  std::string fingerprint() const override { return Sha256Hex(name()).substr(0, 16); }

 private:
  static Json ParseAnswer(const std::optional<HttpAnswer>& answer, const std::string& url) {
    if (!answer) throw Cancelled();
    if (answer->status < 200 || answer->status > 299)
      Throw(answer->status == 400 ? ErrorCode::kInvalidArgument : ErrorCode::kIo, "{}, from {}",
            RefusalOf(answer->status, answer->body), url);
    return Json::Parse(answer->body, url);
  }

  Json Ask(HttpClient& client, const char* path, const Json& body) const {
    const std::string url = options_.url + path;
    return ParseAnswer(client.Post(url, body.Dump()), url);
  }

  void AskForModels() {
    HttpClient client(ToHttp(options_, options_.cancel));
    const std::string url = options_.url + "/models";
    std::optional<Json> found;
    try {
      const Json list = ParseAnswer(client.Get(url), url).At("data");
      for (size_t i = 0; i < list.Size() && !found; ++i)
        if (options_.model.empty() || list.At(i).At("id").AsString() == options_.model)
          found = list.At(i);
    } catch (const Cancelled&) {
      return;
    } catch (const Error&) {
      if (options_.model.empty()) throw;  // a server with a model and no list is one to ask
    }
    if (options_.model.empty()) {
      if (!found)
        Throw(ErrorCode::kNotFound, "model: expected --model NAME, found no list of them, from {}",
              url);
      options_.model = found->At("id").AsString();
    }
    if (options_.max_tokens > 0) return;
    const auto length = found ? found->Find("max_model_len") : std::nullopt;
    options_.max_tokens = length && length->IsInteger() ? length->AsInt(1) : kContextUnknown;
  }

  EchoedPrompt Echo(HttpClient& client, const std::string& prompt) const {
    Json body = Json::Object();
    body.Set("model", options_.model)
        .Set("prompt", prompt)
        .Set("max_tokens", 0)
        .Set("echo", true)
        .Set("logprobs", 1)
        .Set("temperature", 0);
    const Json answer = Ask(client, "/completions", body);
    return WithContext(options_.url, [&] { return ParseEcho(answer, prompt); });
  }

  /// At most n bytes, ended behind a line, a space or a character.
  static std::string_view PieceOf(std::string_view text, size_t n) {
    if (text.size() <= n) return text;
    const std::string_view piece = text.substr(0, CompleteUtf8Prefix(text.substr(0, n)));
    for (const char end : {'\n', ' '}) {
      const size_t at = piece.rfind(end);
      if (at != std::string_view::npos && at > piece.size() / 2) return piece.substr(0, at);
    }
    return piece;
  }

  /// A piece that the server finds too long is asked for in halves.
  void AddPiece(HttpClient& client, const std::string& text, Likelihood* sum) const {
    std::optional<Likelihood> piece;
    try {
      piece = LikelihoodAfter(Echo(client, text), "");
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument || text.size() < kSmallestPiece) throw;
    }
    if (piece) {
      sum->logprob += piece->logprob;
      sum->n_tokens += piece->n_tokens;
      sum->is_greedy = sum->is_greedy && piece->is_greedy;
      sum->token_logprobs.insert(sum->token_logprobs.end(), piece->token_logprobs.begin(),
                                 piece->token_logprobs.end());
      return;
    }
    const std::string first(PieceOf(text, text.size() / 2));
    AddPiece(client, first, sum);
    AddPiece(client, text.substr(first.size()), sum);
  }

  Json BodyOf(const GenerationRequest& request) const {
    Json body = Json::Object();
    body.Set("model", options_.model)
        .Set("max_tokens", request.max_tokens)
        .Set("temperature", request.temperature)
        .Set("top_p", request.top_p)
        .Set("n", request.n)
        .Set("seed", request.seed);
    if (!request.stop.empty()) {
      Json stop = Json::Array();
      for (const std::string& text : request.stop) stop.Push(text);
      body.Set("stop", std::move(stop));
    }
    if (request.messages.empty()) {
      body.Set("prompt", request.prompt);
      return body;
    }
    Json messages = Json::Array();
    for (const ChatMessage& message : request.messages)
      messages.Push(Json::Object().Set("role", message.role).Set("content", message.content));
    body.Set("messages", std::move(messages));
    return body;
  }

  EndpointOptions options_;
};

}  // namespace

std::unique_ptr<LanguageModel> OpenEndpointModel(const EndpointOptions& options) {
  return std::make_unique<EndpointModel>(options);
}

}  // namespace mixtral::eval
