// SPDX-License-Identifier: Apache-2.0
// Request bodies: every known field by type and range, conversations that are repaired.
#include <gtest/gtest.h>

#include "server/api_types.h"
#include "server/fields.h"
#include "server/messages.h"

namespace mixtral::server {
namespace {

constexpr ModelFacts kFacts = {
    .vocab_size = 100, .n_experts = 8, .experts_per_token = 2, .max_choices = 8};

GenerationRequest Parse(const std::string& body) {
  return ParseGeneration(Json::Parse(body, "the request body"), kFacts);
}

/// "status param" of a refused body, "" of one that is taken.
std::string Refusal(const std::string& body) {
  try {
    Parse(body);
    return "";
  } catch (const Error& error) {
    const HttpError http = ToHttpError(error);
    return std::to_string(http.status()) + " " + http.param();
  }
}

TEST(ApiTypes, DefaultsAreOpenAis) {
  const GenerationRequest request = Parse(R"({"unknown": {"x": [1]}, "user": "me"})");
  EXPECT_EQ(request.service.sampler.temperature, 1);
  EXPECT_EQ(request.service.sampler.top_p, 1);
  EXPECT_EQ(request.service.sampler.top_k, 0);
  EXPECT_EQ(request.service.n, 1);
  EXPECT_FALSE(request.stream);
  EXPECT_TRUE(request.service.use_prefix_cache);
  EXPECT_NE(request.service.sampler.seed, Parse("{}").service.sampler.seed);  // drawn
}

TEST(ApiTypes, FieldsArrive) {
  const GenerationRequest r = Parse(R"({"model": "m", "stream": true,
    "stream_options": {"include_usage": true}, "n": 3, "temperature": 0.5, "top_p": 0.9,
    "top_k": 40, "min_p": 0.05, "typical_p": 0.8, "repeat_penalty": 1.1, "repeat_last_n": 32,
    "frequency_penalty": 1, "presence_penalty": -1, "logit_bias": {"5": -100, "7": 2.5},
    "seed": -3, "stop": "END", "stop_token_ids": [1, 2], "include_stop_str_in_output": true,
    "ignore_eos": true, "min_tokens": 4, "cache_prompt": false, "priority": -2, "timings": true,
    "routing": {"return": true, "experts_per_token": 3, "force": [1], "ban": [0, 7],
                "encoding": "arrays"}})");
  EXPECT_EQ(r.model, "m");
  EXPECT_TRUE(r.stream && r.include_usage && r.timings);
  const SamplerConfig& s = r.service.sampler;
  EXPECT_EQ(s.temperature, 0.5F);
  EXPECT_EQ(s.top_p, 0.9F);
  EXPECT_EQ(s.top_k, 40);
  EXPECT_EQ(s.min_p, 0.05F);
  EXPECT_EQ(s.typical_p, 0.8F);
  EXPECT_EQ(s.repetition_penalty, 1.1F);
  EXPECT_EQ(s.repetition_window, 32);
  EXPECT_EQ(s.frequency_penalty, 1);
  EXPECT_EQ(s.presence_penalty, -1);
  ASSERT_EQ(s.logit_bias.size(), 2U);
  EXPECT_EQ(s.logit_bias[1].id, 7);
  EXPECT_EQ(s.logit_bias[1].bias, 2.5F);
  EXPECT_EQ(s.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(r.service.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(r.service.stop_tokens, (std::vector<TokenId>{1, 2}));
  EXPECT_TRUE(r.service.include_stop_text && r.service.ignore_eos && r.service.return_routing);
  EXPECT_EQ(r.service.min_tokens, 4);
  EXPECT_FALSE(r.service.use_prefix_cache);
  EXPECT_EQ(r.service.priority, -2);
  EXPECT_EQ(r.service.policy.k, 3);
  EXPECT_EQ(r.service.policy.force, std::vector<int>{1});
  EXPECT_EQ(r.service.policy.ban, (std::vector<int>{0, 7}));
  EXPECT_EQ(r.routing_encoding, RoutingEncoding::kArrays);
}

TEST(ApiTypes, EveryKnownFieldIsChecked) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"model": 1})", "model"},
      {R"({"stream": "yes"})", "stream"},
      {R"({"stream_options": {"include_usage": true}})", "stream_options"},
      {R"({"stream": true, "stream_options": {"include_usage": 1}})",
       "stream_options.include_usage"},
      {R"({"n": 0})", "n"},
      {R"({"n": 9})", "n"},
      {R"({"n": 1.5})", "n"},
      {R"({"temperature": -0.1})", "temperature"},
      {R"({"temperature": 101})", "temperature"},
      {R"({"temperature": "1"})", "temperature"},
      {R"({"top_p": 1.1})", "top_p"},
      {R"({"top_k": -2})", "top_k"},
      {R"({"min_p": 2})", "min_p"},
      {R"({"typical_p": 0})", "typical_p"},
      {R"({"repetition_penalty": 0})", "repetition_penalty"},
      {R"({"repeat_penalty": []})", "repeat_penalty"},
      {R"({"repeat_last_n": -1})", "repeat_last_n"},
      {R"({"frequency_penalty": 2.5})", "frequency_penalty"},
      {R"({"presence_penalty": -3})", "presence_penalty"},
      {R"({"logit_bias": [1]})", "logit_bias"},
      {R"({"logit_bias": {"100": 1}})", "logit_bias"},
      {R"({"logit_bias": {"1x": 1}})", "logit_bias"},
      {R"({"logit_bias": {"1": 101}})", "logit_bias"},
      {R"({"logit_bias": {"1": "x"}})", "logit_bias.1"},
      {R"({"seed": 1.5})", "seed"},
      {R"({"seed": 18446744073709551615})", "seed"},
      {R"({"stop": 5})", "stop"},
      {R"({"stop": [""]})", "stop"},
      {R"({"stop": [1]})", "stop[0]"},
      {R"({"stop_token_ids": [100]})", "stop_token_ids"},
      {R"({"include_stop_str_in_output": 1})", "include_stop_str_in_output"},
      {R"({"ignore_eos": 1})", "ignore_eos"},
      {R"({"min_tokens": -1})", "min_tokens"},
      {R"({"cache_prompt": 1})", "cache_prompt"},
      {R"({"priority": 1001})", "priority"},
      {R"({"timings": 1})", "timings"},
      {R"({"routing": true})", "routing"},
      {R"({"routing": {"return": 1}})", "routing.return"},
      {R"({"routing": {"experts_per_token": 9}})", "routing.experts_per_token"},
      {R"({"routing": {"force": [8]}})", "routing.force[0]"},
      {R"({"routing": {"ban": [-1]}})", "routing.ban[0]"},
      {R"({"routing": {"encoding": "xml"}})", "routing.encoding"},
      {R"({"response_format": {"type": "json_object"}})", "response_format"},
      {R"({"response_format": {"type": "xml"}})", "response_format.type"},
      {R"({"grammar": "root ::= x"})", "grammar"},
      {R"({"json_schema": {}})", "json_schema"},
      {R"({"structured_outputs": {}})", "structured_outputs"},
  };
  for (const auto& [body, param] : cases)
    EXPECT_EQ(Refusal(body), std::string("400 ") + param) << body;
  // Every field of the list is in one of the cases.
  for (const std::string_view field : GenerationFields()) {
    bool is_tried = false;
    for (const auto& [body, param] : cases)
      is_tried |=
          std::string_view(body).find("\"" + std::string(field) + "\"") != std::string_view::npos;
    EXPECT_TRUE(is_tried) << field;
  }
}

TEST(ApiTypes, NullMeansAbsentAndTextIsNoConstraint) {
  for (const std::string_view field : GenerationFields())
    EXPECT_EQ(Refusal("{\"" + std::string(field) + "\": null}"), "") << field;
  EXPECT_EQ(Refusal(R"({"response_format": {"type": "text"}})"), "");
}

TEST(ApiTypes, BodiesThatAreNoObject) {
  HttpRequest request;
  const auto status = [&](const char* body) {
    request.body = body;
    try {
      ParseBody(request);
      return 200;
    } catch (const Error& error) {
      return ToHttpError(error).status();
    }
  };
  for (const char* body : {"", "{", "[1]", "1", "{\"a\":1,\"a\":2}", "{\"a\":\"\xFF\"}", "{}x"})
    EXPECT_EQ(status(body), 400) << body;
  EXPECT_EQ(status((std::string(65, '[') + std::string(65, ']')).c_str()), 400);
  EXPECT_EQ(status("{}"), 200);
  request.headers = {{"content-type", "text/plain"}};
  EXPECT_EQ(status("{}"), 415);
  request.headers = {{"content-type", "application/json; charset=utf-8"}};
  EXPECT_EQ(status("{}"), 200);
}

std::vector<Message> MessagesOf(const std::string& list) {
  return ParseMessages(Json::Parse("{\"messages\":" + list + "}", "body"));
}

TEST(Messages, RolesAndContent) {
  const auto messages = MessagesOf(R"([{"role": "developer", "content": "s"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "42"}])");
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].role, "system");
  EXPECT_EQ(messages[1].content, "ab");
  EXPECT_EQ(messages[2].tool_calls[0].arguments, "{\"x\":1}");
  EXPECT_THROW(MessagesOf("[]"), Error);
  EXPECT_THROW(MessagesOf(R"([{"role": "king", "content": "x"}])"), Error);
  EXPECT_THROW(
      MessagesOf(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])"),
      Error);
}

std::string Roles(const std::vector<Message>& messages) {
  std::string roles;
  for (const Message& message : messages)
    roles += message.tool_calls.empty() ? message.role[0]
                                        : static_cast<char>('0' + message.tool_calls.size());
  return roles;  // s, u, a, t; a digit: an assistant's calls
}

Message Calls(std::vector<std::string> ids) {
  Message message{"assistant", ""};
  for (std::string& id : ids) message.tool_calls.push_back({std::move(id), "f", "{}"});
  return message;
}

Message Result(std::string id) {
  Message message{"tool", "r"};
  message.tool_call_id = std::move(id);
  return message;
}

TEST(Messages, ConversationsAreRepaired) {
  const auto repaired = [](std::vector<Message> messages) {
    return Roles(RepairConversation(std::move(messages), ToolSupport::kFormat));
  };
  const Message user{"user", "u"}, system{"system", "s"}, assistant{"assistant", "a"};
  EXPECT_EQ(repaired({user, system, assistant, system, user}), "ssuau");
  EXPECT_EQ(repaired({user, Calls({"x"}), Result("x"), user}), "u1tau");
  EXPECT_EQ(repaired({user, Calls({"x", "y"}), Result("y"), assistant}), "u1ta");
  EXPECT_EQ(repaired({user, Calls({"x"}), user}), "uu");
  EXPECT_EQ(repaired({user, Result("x")}), "uu");
  EXPECT_EQ(repaired({user, Calls({"x"})}), "u1");
  EXPECT_EQ(repaired({user, {"assistant", ""}, user}), "uu");
  EXPECT_EQ(repaired({user, assistant, Calls({"x"}), Result("x")}), "uau1t");
  EXPECT_EQ(Roles(RepairConversation({user, Calls({"x"}), Result("x")}, ToolSupport::kNone)),
            "uau");
}

TEST(Messages, IdsBecomeNineCharactersAndStayEqual) {
  EXPECT_EQ(NineCharacterId("aB3456789"), "aB3456789");
  const std::string nine = NineCharacterId("call_0123456789abcdef");
  EXPECT_EQ(nine.size(), 9U);
  EXPECT_NE(nine, NineCharacterId("call_0123456789abcdee"));
  const auto messages = RepairConversation({{"user", "u"}, Calls({"call_1"}), Result("call_1")},
                                           ToolSupport::kFormat);
  EXPECT_EQ(messages[1].tool_calls[0].id, messages[2].tool_call_id);
  EXPECT_EQ(messages[2].tool_call_id, NineCharacterId("call_1"));
}

TEST(Messages, Tools) {
  const auto tools = [](const char* list) {
    return ParseTools(Json::Parse(std::string("{\"tools\":") + list + "}", "body"));
  };
  EXPECT_EQ(tools(R"([{"type": "function", "function": {"name": "f"}}])")[0].parameters, "{}");
  EXPECT_THROW(tools(R"([{"type": "web", "function": {"name": "f"}}])"), Error);
  EXPECT_THROW(tools(R"([{"type": "function", "function": {"name": "a b"}}])"), Error);
  EXPECT_THROW(tools(R"([{"type": "function", "function": {"name": "f", "parameters": 1}}])"),
               Error);
  EXPECT_THROW(tools(R"({"a": 1})"), Error);
}

}  // namespace
}  // namespace mixtral::server
