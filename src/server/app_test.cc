// SPDX-License-Identifier: Apache-2.0
// What happens to requests before a model is there, over exchanges in memory: readiness, keys,
// origins, errors. With a model: tests/e2e/serve.
#include "server/app.h"

#include <gtest/gtest.h>

#include <map>

#include "base/json.h"

namespace mixtral::server {
namespace {

class MemoryExchange : public Exchange {
 public:
  explicit MemoryExchange(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  ExchangeFacts& facts() override { return facts_; }
  void Post(std::function<void()> fn) override { fn(); }
  void AddHeader(std::string name, std::string value) override {
    headers[std::move(name)] = std::move(value);
  }
  void Reply(HttpReply given) override { reply = std::move(given); }
  void BeginEvents() override {}
  bool has_begun_events() const override { return false; }
  void Write(std::string_view /*text*/) override {}
  void EndEvents(End /*end*/) override {}
  bool is_over() const override { return reply.has_value(); }
  void OnGone(std::function<void()> /*fn*/) override {}

  std::optional<HttpReply> reply;
  std::map<std::string, std::string> headers;

 private:
  HttpRequest request_;
  ExchangeFacts facts_;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

std::shared_ptr<MemoryExchange> Ask(App& app, const char* method, const char* path,
                                    Headers headers = {}) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  request.headers = std::move(headers);
  request.body = R"({"messages": [{"role": "user", "content": "x"}]})";
  auto exchange = std::make_shared<MemoryExchange>(std::move(request));
  app.Handle(exchange);
  EXPECT_TRUE(exchange->reply.has_value()) << path;
  return exchange;
}

ServerOptions WithKey(std::vector<std::string> origins) {
  ServerOptions options;
  options.api_keys = {"secret"};
  options.cors_origins = std::move(origins);
  return options;
}

TEST(App, EverythingThatNeedsTheModelIs503WhileItLoads) {
  App app({}, "m");
  for (const Route& route : app.routes()) {
    if (route.path == "/version" || route.path == "/metrics") continue;
    const auto exchange =
        Ask(app, std::string(route.method).c_str(), std::string(route.path).c_str());
    EXPECT_EQ(exchange->reply->status, 503) << route.path;
    EXPECT_EQ(exchange->reply->headers[0].first, "Retry-After");
    if (route.error_style == ErrorStyle::kAnthropic) continue;
    const Json error = Json::Parse(exchange->reply->body, "reply").At("error");
    EXPECT_EQ(error.At("message").AsString(), "Loading model");
    EXPECT_EQ(error.At("type").AsString(), "unavailable_error");
    EXPECT_EQ(error.At("code").AsInt(), 503);
  }
  EXPECT_EQ(Ask(app, "GET", "/version")->reply->status, 200);
  const auto metrics = Ask(app, "GET", "/metrics");
  EXPECT_EQ(metrics->reply->status, 200);
  EXPECT_NE(metrics->reply->body.find(R"(mixtral_requests_rejected_total{reason="loading"} )"),
            std::string::npos);
}

TEST(App, KeysComeBeforeReadiness) {
  App app(WithKey({}), "m");
  EXPECT_EQ(Ask(app, "POST", "/v1/chat/completions")->reply->status, 401);
  EXPECT_EQ(Ask(app, "GET", "/metrics")->reply->status, 401);
  EXPECT_EQ(Ask(app, "GET", "/health")->reply->status, 503);
  EXPECT_EQ(Ask(app, "GET", "/version", {{"authorization", "Bearer secret"}})->reply->status, 200);
}

TEST(App, OriginsAreOffUnlessListed) {
  const Headers origin = {{"origin", "https://a.example"}};
  App closed({}, "m");
  EXPECT_EQ(Ask(closed, "OPTIONS", "/v1/models", origin)->headers.size(), 0U);
  App open(WithKey({"*"}), "m");
  const auto preflight = Ask(open, "OPTIONS", "/v1/models", origin);
  EXPECT_EQ(preflight->reply->status, 204);
  EXPECT_EQ(preflight->headers["Access-Control-Allow-Origin"], "*");
  EXPECT_EQ(preflight->headers.count("Access-Control-Allow-Credentials"), 0U);
}

TEST(App, DrainingIs503) {
  App app({}, "m");
  app.Drain();
  const auto exchange = Ask(app, "POST", "/v1/completions");
  EXPECT_EQ(exchange->reply->status, 503);
  EXPECT_NE(exchange->reply->body.find("shutting down"), std::string::npos);
}

}  // namespace
}  // namespace mixtral::server
