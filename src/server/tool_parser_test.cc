// SPDX-License-Identifier: Apache-2.0
// Tool calls out of a model's text, whatever the pieces that it comes in.
#include <gtest/gtest.h>

#include "server/messages.h"
#include "server/tool_parser.h"

namespace mixtral::server {
namespace {

enum class Mark : uint8_t { kToken, kText };

struct Parsed {
  std::string content;
  std::vector<CallPart> calls;
};

Parsed Parse(std::string_view text, size_t piece, Mark mark) {
  ToolParser parser;
  if (mark == Mark::kToken) parser.OnToolToken();
  Parsed parsed;
  const auto take = [&](const ToolOutput& output) {
    parsed.content += output.content;
    for (const CallPart& part : output.calls) {
      if (static_cast<size_t>(part.index) == parsed.calls.size()) {
        EXPECT_FALSE(part.id.empty());
        parsed.calls.push_back(part);
      } else {
        EXPECT_TRUE(part.id.empty() && part.name.empty());
        parsed.calls.back().arguments += part.arguments;
      }
    }
  };
  for (size_t i = 0; i < text.size(); i += piece) take(parser.Push(text.substr(i, piece)));
  take(parser.Finish());
  EXPECT_EQ(parser.n_calls(), std::ssize(parsed.calls));
  return parsed;
}

constexpr std::string_view kTwo =
    R"( [{"name": "get_weather", "arguments": {"city": "A]}\"{", "n": [1, {}]}, "id": "abcdefghi"},)"
    R"( {"name":"f","arguments":{}}])";

TEST(ToolParser, CallsInPiecesOfEverySize) {
  for (const Mark mark : {Mark::kToken, Mark::kText}) {
    const std::string text = (mark == Mark::kText ? "[TOOL_CALLS]" : "") + std::string(kTwo);
    for (size_t piece = 1; piece <= text.size(); ++piece) {
      const Parsed parsed = Parse(text, piece, mark);
      ASSERT_EQ(parsed.calls.size(), 2U) << piece;
      EXPECT_EQ(parsed.content, "");
      EXPECT_EQ(parsed.calls[0].name, "get_weather");
      EXPECT_EQ(parsed.calls[0].arguments, R"({"city": "A]}\"{", "n": [1, {}]})");
      EXPECT_EQ(parsed.calls[1].name, "f");
      EXPECT_EQ(parsed.calls[1].arguments, "{}");
      for (const CallPart& call : parsed.calls) EXPECT_EQ(NineCharacterId(call.id), call.id);
      EXPECT_NE(parsed.calls[0].id, parsed.calls[1].id);
    }
  }
}

TEST(ToolParser, IdOfTheModelIsKeptWhenItComesInTime) {
  const char* text = R"([{"id": "a23456789", "name": "f", "arguments": {"a": 1}}])";
  EXPECT_EQ(Parse(text, 3, Mark::kToken).calls[0].id, "a23456789");
  const char* bad = R"([{"id": "call-1", "name": "f", "arguments": {"a": 1}}])";
  EXPECT_EQ(Parse(bad, 3, Mark::kToken).calls[0].id, NineCharacterId("call-1"));
}

TEST(ToolParser, OddOrdersAndTypes) {
  const Parsed before = Parse(R"([{"arguments": {"a": 1}, "name": "f"}])", 1, Mark::kToken);
  ASSERT_EQ(before.calls.size(), 1U);
  EXPECT_EQ(before.calls[0].arguments, R"({"a":1})");
  const Parsed text = Parse(R"([{"name": "f", "arguments": "{\"a\": 1}"}])", 1, Mark::kToken);
  EXPECT_EQ(text.calls[0].arguments, R"({"a": 1})");
  EXPECT_EQ(Parse(R"([{"name": "f"}])", 1, Mark::kToken).calls[0].arguments, "{}");
}

TEST(ToolParser, TextStaysText) {
  for (const char* text :
       {"Hello [x]", "[TOOL_CALL", "[TOOL_CALLX] [{}]", "", "  [", "a[TOOL_CALLS]"})
    for (const size_t piece : {1, 2, 100}) {
      const Parsed parsed = Parse(text, piece, Mark::kText);
      EXPECT_EQ(parsed.content, text);
      EXPECT_TRUE(parsed.calls.empty());
    }
}

TEST(ToolParser, WhatIsNoCallComesBackAsItWas) {
  for (const char* text : {"no json", "[1, 2]", R"([{"name" "f"}])", R"({"a")", R"([{"x": 1}])"})
    for (const size_t piece : {1, 100}) {
      const Parsed parsed = Parse(text, piece, Mark::kToken);
      EXPECT_EQ(parsed.content, text);
      EXPECT_TRUE(parsed.calls.empty()) << text;
    }
}

TEST(ToolParser, CutOffArgumentsGoOutAsFarAsTheyCame) {
  const Parsed parsed = Parse(R"([{"name": "f", "arguments": {"city": "Par)", 4, Mark::kToken);
  ASSERT_EQ(parsed.calls.size(), 1U);
  EXPECT_EQ(parsed.calls[0].arguments, R"({"city": "Par)");
  EXPECT_EQ(parsed.content, "");
}

}  // namespace
}  // namespace mixtral::server
