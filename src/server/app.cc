// SPDX-License-Identifier: Apache-2.0
// The list of endpoints is here; docs/api.md describes each.
#include "server/app.h"

#include <exception>
#include <utility>

#include "server/anthropic_api.h"
#include "server/chat_api.h"
#include "server/completions_api.h"
#include "server/embeddings_api.h"
#include "server/info_api.h"
#include "server/tokenize_api.h"

namespace mixtral::server {
namespace {

constexpr int kRetryWhileLoading = 5;
constexpr std::string_view kPrometheusText = "text/plain; version=0.0.4; charset=utf-8";

/// Every way a handler can fail, as an answer.
template <class Fn>
std::optional<HttpReply> Guarded(ErrorStyle style, Fn&& fn) {
  try {
    fn();
    return std::nullopt;
  } catch (const Error& error) {
    return ErrorReply(ToHttpError(error), style);
  } catch (const std::exception& error) {
    return ErrorReply(HttpError(500, error.what()), style);
  }
}

}  // namespace

App::App(const ServerOptions& options, const std::string& model_name)
    : version_(options.version),
      access_log_(options.access_log),
      auth_(options.api_keys),
      cors_(options.cors_origins),
      metrics_(model_name, options.version, options.expert_metrics),
      worker_(std::make_unique<TaskQueue>()) {
  context_.metrics = &metrics_;
  AddRoutes();
}

void App::AddWorker(std::string_view path, std::string_view name, Handler handler,
                    ErrorStyle style) {
  router_.Add({.method = "POST",
               .path = path,
               .handler = name,
               .access = Access::kKey,
               .runs = Runs::kOnWorker,
               .run = [this, handler](const ExchangePtr& exchange) { handler(exchange, context_); },
               .error_style = style});
}

void App::AddInfo(std::string_view path, std::string_view name, Access access,
                  std::function<HttpReply(const HttpRequest&)> reply) {
  router_.Add({.method = "GET",
               .path = path,
               .handler = name,
               .access = access,
               .runs = Runs::kOnIo,
               .run = [reply = std::move(reply)](const ExchangePtr& exchange) {
                 exchange->Reply(reply(exchange->request()));
               }});
}

void App::AddRoutes() {
  AddWorker("/v1/chat/completions", "chat", &ChatCompletions);
  AddWorker("/v1/completions", "completions", &Completions);
  AddWorker("/v1/embeddings", "embeddings", &Embeddings);
  AddWorker("/v1/messages", "messages", &AnthropicMessages, ErrorStyle::kAnthropic);
  AddWorker("/v1/messages/count_tokens", "count_tokens", &AnthropicCountTokens,
            ErrorStyle::kAnthropic);
  AddWorker("/tokenize", "tokenize", &Tokenize);
  AddWorker("/detokenize", "detokenize", &Detokenize);
  AddWorker("/apply-template", "apply_template", &ApplyTemplate);
  AddInfo("/v1/models", "models", Access::kKey,
          [this](const HttpRequest&) { return HttpReply{.body = ModelList(Model())}; });
  AddInfo("/v1/models/*", "models", Access::kKey, [this](const HttpRequest& request) {
    const size_t at = request.path.find("/models/") + std::string_view("/models/").size();
    return HttpReply{.body = ModelEntry(Model(), request.path.substr(at))};
  });
  AddInfo("/v1/routing/stats", "routing_stats", Access::kKey, [this](const HttpRequest&) {
    return HttpReply{.body = RoutingStats(Model(), Model().service.Stats())};
  });
  AddInfo("/props", "props", Access::kKey,
          [this](const HttpRequest&) { return HttpReply{.body = Props(Model(), version_)}; });
  AddInfo("/load", "load", Access::kKey,
          [this](const HttpRequest&) { return HttpReply{.body = Load(Model().service.Stats())}; });
  AddInfo("/version", "version", Access::kKey, [this](const HttpRequest&) {
    return HttpReply{.body = fmt::format(R"({{"version":"{}"}})", version_)};
  });
  AddInfo("/metrics", "metrics", Access::kKey,
          [this](const HttpRequest&) { return MetricsText(); });
  AddInfo("/health", "health", Access::kPublic, [this](const HttpRequest&) { return Health(); });
  AddInfo("/ready", "ready", Access::kPublic, [this](const HttpRequest&) { return Health(); });
}

HttpError App::NotReady() const {
  HttpError error(503, is_draining_ ? "the server is shutting down" : "Loading model");
  error.retry_after = kRetryWhileLoading;
  return error;
}

const ServedModel& App::Model() const {
  if (model_ == nullptr) throw NotReady();
  return *model_;
}

HttpReply App::Health() const {
  if (model_ == nullptr || is_draining_) return ErrorReply(NotReady());
  return {.status = 200, .body = R"({"status":"ok"})"};
}

HttpReply App::MetricsText() const {
  HttpReply reply{.status = 200, .body = "", .content_type = std::string(kPrometheusText)};
  if (model_ == nullptr) {
    reply.body = metrics_.Text(nullptr);
  } else {
    const ServiceFacts facts{.stats = model_->service.Stats(),
                             .n_experts = model_->engine.config().n_experts,
                             .n_connections = connections()};
    reply.body = metrics_.Text(&facts);
  }
  return reply;
}

void App::Handle(const ExchangePtr& exchange) {
  if (cors_.Handle(*exchange)) {
    exchange->facts().handler = "preflight";
    return;
  }
  exchange->facts().handler = "none";
  const auto failure = Guarded(ErrorStyle::kOpenAi, [&] {
    const HttpRequest& request = exchange->request();
    const Route& route = router_.Find(request.method, request.path);
    exchange->facts().handler = route.handler;
    const auto refused = Guarded(route.error_style, [&] {
      if (route.access == Access::kKey) auth_.Check(request);
      Dispatch(exchange, route);
    });
    if (refused) exchange->Reply(*refused);
  });
  if (failure) exchange->Reply(*failure);
}

void App::Dispatch(const ExchangePtr& exchange, const Route& route) {
  if (route.runs == Runs::kOnIo) return route.run(exchange);
  if (model_ == nullptr || is_draining_) {
    metrics_.Rejected(is_draining_ ? "draining" : "loading");
    throw NotReady();
  }
  worker_->Push([exchange, &route] {
    const auto refused = Guarded(route.error_style, [&] { route.run(exchange); });
    if (refused) ReplyFrom(exchange, *refused);
  });
}

void App::OnAnswered(const AccessEntry& entry) {
  metrics_.Http(entry.facts->handler, entry.request->method, entry.status, entry.seconds);
  if (access_log_) access_log_(AccessLine(entry));
}

void App::SetModel(std::shared_ptr<ServedModel> model) {
  model_ = std::move(model);
  context_.model = model_.get();
}

void App::Drain() {
  is_draining_ = true;
  if (model_ != nullptr) model_->service.Drain();
}

void App::Close() {
  worker_.reset();
  model_.reset();
}

}  // namespace mixtral::server
