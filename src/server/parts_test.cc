// SPDX-License-Identifier: Apache-2.0
// The parts that need no model: JSON and base64 text, keys, routes, the access log, error bodies.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/json.h"
#include "server/access_log.h"
#include "server/auth.h"
#include "server/base64.h"
#include "server/json_writer.h"
#include "server/router.h"

namespace mixtral::server {
namespace {

std::string Escaped(std::string_view text) {
  std::string out;
  AppendJsonEscaped(text, &out);
  return out;
}

TEST(JsonWriter, EscapesWhatMustBe) {
  EXPECT_EQ(Escaped("a\"b\\c\n\r\t\x01\x7F"), R"(a\"b\\c\n\r\t\u0001\u007f)");
  EXPECT_EQ(Escaped("\xC3\xA9\xE2\x80\xA8\xE2\x80\xA9"), "\xC3\xA9\\u2028\\u2029");
  EXPECT_EQ(Escaped("\xFFok\xE2\x82"), "\xEF\xBF\xBDok\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(JsonWriter, EveryByteComesBack) {
  std::string text;
  for (int c = 0; c < 128; ++c) text += static_cast<char>(c);
  std::string json;
  JsonWriter(&json).String(text);
  EXPECT_EQ(Json::Parse(json, "test").AsString(), text);
}

TEST(JsonWriter, CommasAndNumbers) {
  std::string out;
  JsonWriter json(&out);
  json.BeginObject().Key("a").BeginArray().Int(-1).Real(0.5).Float(0.1F).EndArray();
  json.Key("b").BeginObject().EndObject().Key("c").Null().Key("d").Bool(true);
  json.Key("e").Real(std::numeric_limits<double>::infinity()).Key("f").Raw("[1]").EndObject();
  EXPECT_EQ(out, R"({"a":[-1,0.5,0.1],"b":{},"c":null,"d":true,"e":null,"f":[1]})");
}

TEST(Base64, Rfc4648Vectors) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foob"), "Zm9vYg==");
  EXPECT_EQ(Base64("\xFF\xFE"), "//4=");
  EXPECT_EQ(Base64Floats(std::vector<float>{1.0F, -2.0F}), "AACAPwAAAMA=");
}

HttpRequest With(std::string name, std::string value) {
  HttpRequest request;
  request.headers.emplace_back(std::move(name), std::move(value));
  return request;
}

int AuthStatus(const Auth& auth, const HttpRequest& request) {
  try {
    auth.Check(request);
    return 200;
  } catch (const HttpError& error) {
    return error.status();
  }
}

TEST(Auth, BearerAndApiKey) {
  const Auth auth({"first", "second"});
  EXPECT_EQ(AuthStatus(auth, {}), 401);
  EXPECT_EQ(AuthStatus(auth, With("authorization", "Bearer second")), 200);
  EXPECT_EQ(AuthStatus(auth, With("authorization", "bEARER  first ")), 200);
  EXPECT_EQ(AuthStatus(auth, With("x-api-key", "first")), 200);
  for (const char* wrong : {"Bearer firs", "Bearer firstfirst", "Bearer ", "Bearer", "first",
                            "Basic first", "Bearer First", "Bearer firstsecond"})
    EXPECT_EQ(AuthStatus(auth, With("authorization", wrong)), 401) << wrong;
  for (const char* wrong : {"", "f", "firstfirst", "fffff"})
    EXPECT_EQ(AuthStatus(auth, With("x-api-key", wrong)), 401) << wrong;
  EXPECT_EQ(AuthStatus(Auth({}), {}), 200);
}

TEST(Auth, KeyFile) {
  EXPECT_EQ(ParseKeyFile("# keys\n\n one \r\ntwo\n", "f"),
            (std::vector<std::string>{"one", "two"}));
  EXPECT_THROW(ParseKeyFile("# none\n\n", "f"), Error);
  EXPECT_THROW(ParseKeyFile("two words\n", "f"), Error);
  EXPECT_THROW(ParseKeyFile("\xC3\xA9\n", "f"), Error);
}

Router SmallRouter() {
  Router router;
  router.Add({.method = "POST", .path = "/v1/chat/completions", .handler = "chat", .run = {}});
  router.Add({.method = "GET", .path = "/v1/models/*", .handler = "models", .run = {}});
  router.Add({.method = "GET", .path = "/health", .handler = "health", .run = {}});
  return router;
}

int RouteStatus(const Router& router, const char* method, const char* path) {
  try {
    router.Find(method, path);
    return 200;
  } catch (const HttpError& error) {
    return error.status();
  }
}

TEST(Router, PathsWithAndWithoutVersion) {
  const Router router = SmallRouter();
  EXPECT_EQ(router.Find("POST", "/v1/chat/completions").handler, "chat");
  EXPECT_EQ(router.Find("POST", "/chat/completions").handler, "chat");
  EXPECT_EQ(router.Find("GET", "/v1/health").handler, "health");
  EXPECT_EQ(router.Find("GET", "/models/a/b.c").handler, "models");
  EXPECT_EQ(RouteStatus(router, "GET", "/chat/completions"), 405);
  for (const char* path : {"", "/", "/v1", "/v1/models/", "/v1/v1/health", "/healthy", "/v1health"})
    EXPECT_EQ(RouteStatus(router, "GET", path), 404) << path;
}

TEST(AccessLog, OneLineWhateverTheClientSends) {
  HttpRequest request;
  request.method = "GET\n";
  request.path = "/a\r\n{\"status\":200}\x1B[31m";
  request.query = "api_key=secret";
  request.body = "secret prompt";
  ExchangeFacts facts;
  facts.request_id = "r1";
  const std::string line =
      AccessLine({.request = &request, .facts = &facts, .status = 404, .seconds = 0.5});
  for (const char c : line) EXPECT_GE(c, ' ');
  EXPECT_EQ(line.find("secret"), std::string::npos);
  const Json json = Json::Parse(line, "line");
  EXPECT_EQ(json.At("path").AsString(), request.path);
  EXPECT_EQ(json.At("status").AsInt(), 404);
  EXPECT_EQ(json.At("ms").AsDouble(), 500);
}

TEST(AccessLog, RequestIds) {
  EXPECT_EQ(RequestIdOf(With("x-request-id", "abc-1.2:3_4")), "abc-1.2:3_4");
  for (const std::string& bad : {std::string(), std::string("a b"), std::string("a\nb"),
                                 std::string(129, 'a'), std::string("a\xFF")})
    EXPECT_TRUE(RequestIdOf(With("x-request-id", bad)).starts_with("req_")) << bad;
  EXPECT_NE(RandomName(9), RandomName(9));
  EXPECT_EQ(RandomName(9).size(), 9U);
}

TEST(Errors, BodiesHaveTheFourFields) {
  HttpError error(400, "prompt too long", "", "context_length_exceeded");
  error.type = "exceed_context_size_error";
  error.n_prompt_tokens = 600;
  error.n_ctx = 512;
  const Json json = Json::Parse(ErrorBody(error, ErrorStyle::kOpenAi), "e").At("error");
  EXPECT_EQ(json.Keys(), (std::vector<std::string>{"message", "type", "param", "code",
                                                   "n_prompt_tokens", "n_ctx"}));
  EXPECT_TRUE(json.At("param").IsNull());
  EXPECT_EQ(json.At("n_ctx").AsInt(), 512);
  const Json other = Json::Parse(ErrorBody(HttpError(429, "full"), ErrorStyle::kAnthropic), "e");
  EXPECT_EQ(other.At("type").AsString(), "error");
  EXPECT_EQ(other.At("error").At("type").AsString(), "rate_limit_error");
}

TEST(Errors, ParamOfLibraryErrors) {
  const auto param = [](ErrorCode code, const char* message) {
    return ToHttpError(Error(code, message)).param();
  };
  EXPECT_EQ(param(ErrorCode::kCorrupt, "$.messages[0].role: expected a string, found 1"),
            "messages[0].role");
  EXPECT_EQ(param(ErrorCode::kInvalidArgument, "temperature: expected 0..100, found 101"),
            "temperature");
  EXPECT_EQ(param(ErrorCode::kCorrupt, "invalid JSON: zero byte, in the request body"), "");
  EXPECT_EQ(ToHttpError(Error(ErrorCode::kInternal, "x")).status(), 500);
  EXPECT_EQ(ToHttpError(Error(ErrorCode::kCorrupt, "x")).status(), 400);
}

}  // namespace
}  // namespace mixtral::server
