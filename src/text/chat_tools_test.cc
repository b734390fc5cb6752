// SPDX-License-Identifier: Apache-2.0
// Tools in mistral-v2 and mistral-v3: where the parts stand, and the JSON text to the byte. The
// expected texts are worked out by hand from mistral-common's encoders; the synthetic vocabulary
// has few pieces, so parts are compared as text.
#include <gtest/gtest.h>

#include "text/chat_template.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using Messages = std::vector<Message>;

/// Control pieces as they are, text as it decodes with its dummy prefix.
std::string Text(ChatFormat format, const Messages& messages, const RenderOptions& options = {}) {
  const Tokenizer tokenizer = test::SmallTokenizer(test::InstructPieces());
  std::string out;
  std::vector<TokenId> run;
  const auto flush = [&] {
    // "b" in front, so that the space of the dummy prefix is not the decoder's to drop.
    if (!run.empty()) {
      run.insert(run.begin(), *tokenizer.Encode("b", AddBos::kNo).rbegin());
      out += tokenizer.Decode(run).substr(1);
    }
    run.clear();
  };
  for (const TokenId id : ChatTemplate(format, &tokenizer).Render(messages, options)) {
    if (tokenizer.Type(id) == PieceType::kControl) {
      flush();
      out += tokenizer.Piece(id);
    } else {
      run.push_back(id);
    }
  }
  flush();
  return out;
}

Message Calls(std::vector<ToolCall> calls) {
  return {.role = "assistant", .content = "", .tool_calls = std::move(calls)};
}
Message Result(std::string content, std::string id = "abcdefghi", std::string name = "") {
  return {.role = "tool",
          .content = std::move(content),
          .tool_calls = {},
          .tool_call_id = std::move(id),
          .name = std::move(name)};
}

const Tool kTools[] = {{"f", "does f", R"({"type":"object","properties":{"a":{"type":"number"}}})"},
                       {"g", "", "{}"}};

/// A first question answered with a call and its result, then a second one.
Messages TwoQuestions() {
  return {{"system", "S"},
          {"user", "one"},
          Calls({{"abcdefghi", "f", "{\"a\":1.0}"}}),
          Result("22", "abcdefghi", "f"),
          {"assistant", "done "},
          {"user", "two"},
          Calls({{"123456789", "g", ""}, {"ABCDEFGHI", "f", "not json"}}),
          Result("{\"x\":[true,\"\\u00e9\"]}", "123456789", "g"),
          Result("cold", "ABCDEFGHI")};
}

TEST(ToolsV3, KeepsAllCallsAndResultsWithIds) {
  EXPECT_EQ(
      Text(ChatFormat::kMistralV3, TwoQuestions(), {.tools = kTools}),
      "<s>[INST] one[/INST]"
      "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1.0}, \"id\": \"abcdefghi\"}]</s>"
      "[TOOL_RESULTS] {\"content\": 22, \"call_id\": \"abcdefghi\"}[/TOOL_RESULTS]"
      " done</s>"
      "[AVAILABLE_TOOLS] [{\"type\": \"function\", \"function\": {\"name\": \"f\", "
      "\"description\": "
      "\"does f\", \"parameters\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": "
      "\"number\"}}}}}, {\"type\": \"function\", \"function\": {\"name\": \"g\", \"description\": "
      "\"\", \"parameters\": {}}}][/AVAILABLE_TOOLS]"
      "[INST] S\n\ntwo[/INST]"
      "[TOOL_CALLS] [{\"name\": \"g\", \"arguments\": {}, \"id\": \"123456789\"}, {\"name\": "
      "\"f\", "
      "\"arguments\": \"not json\", \"id\": \"ABCDEFGHI\"}]</s>"
      "[TOOL_RESULTS] {\"content\": {\"x\": [true, \"\xC3\xA9\"]}, \"call_id\": "
      "\"123456789\"}[/TOOL_RESULTS]"
      "[TOOL_RESULTS] {\"content\": \"cold\", \"call_id\": \"ABCDEFGHI\"}[/TOOL_RESULTS]");
}

TEST(ToolsV2, ForgetsCallsBeforeTheLastQuestionAndNamesResults) {
  EXPECT_EQ(Text(ChatFormat::kMistralV2, TwoQuestions()),
            "<s>[INST] one[/INST] done</s>[INST] S\n\ntwo[/INST]"
            "[TOOL_CALLS] [{\"name\": \"g\", \"arguments\": {}}, {\"name\": \"f\", \"arguments\": "
            "\"not json\"}]</s>"
            "[TOOL_RESULTS] [{\"name\": \"g\", \"content\": {\"x\": [true, \"\xC3\xA9\"]}}]"
            "[/TOOL_RESULTS]"
            "[TOOL_RESULTS] [{\"name\": null, \"content\": \"cold\"}][/TOOL_RESULTS]");
}

TEST(ToolsV3, JoinsCallsOfMessagesInARow) {
  EXPECT_EQ(Text(ChatFormat::kMistralV3, {{"user", "a"},
                                          Calls({{"abcdefghi", "f", "{}"}}),
                                          Calls({{"abcdefghj", "f", "{}"}}),
                                          Result(""),
                                          Result("b"),
                                          {"assistant", "c"}}),
            "<s>[INST] a[/INST][TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}, \"id\": "
            "\"abcdefghi\"}, {\"name\": \"f\", \"arguments\": {}, \"id\": \"abcdefghj\"}]</s>"
            "[TOOL_RESULTS] {\"content\": {}, \"call_id\": \"abcdefghi\"}[/TOOL_RESULTS]"
            "[TOOL_RESULTS] {\"content\": \"b\", \"call_id\": \"abcdefghi\"}[/TOOL_RESULTS] c</s>");
}

std::string Refusal(ChatFormat format, const Messages& messages,
                    const RenderOptions& options = {}) {
  return ErrorOf([&] { Text(format, messages, options); });
}

TEST(Tools, IdsHaveNineCharacters) {
  const auto with_id = [](std::string id) {
    return Messages{{"user", "a"}, Calls({{std::move(id), "f", "{}"}})};
  };
  for (const char* id : {"", "abcdefgh", "abcdefghij", "abcd-efgh", "call_12345"}) {
    EXPECT_EQ(
        Refusal(ChatFormat::kMistralV3, with_id(id)),
        fmt::format("invalid argument: messages[1].tool_calls[0].id: expected 9 of [a-zA-Z0-9], "
                    "found '{}'",
                    id));
    EXPECT_EQ(Refusal(ChatFormat::kMistralV2, with_id(id)), "");
  }
  EXPECT_EQ(Refusal(ChatFormat::kMistralV3,
                    {{"user", "a"}, Calls({{"abcdefghi", "f", ""}}), Result("b", "x")}),
            "invalid argument: messages[2].tool_call_id: expected 9 of [a-zA-Z0-9], found 'x'");
}

TEST(Tools, RefusesWhatMistralsValidatorRefuses) {
  const Message call = Calls({{"abcdefghi", "f", "{}"}});
  const auto refusal = [](Messages messages) { return Refusal(ChatFormat::kMistralV3, messages); };
  EXPECT_EQ(refusal({{"user", "a"}, Calls({{"abcdefghi", "f g", ""}})}),
            "invalid argument: messages[1].tool_calls[0].name: expected 1 to 64 of [a-zA-Z0-9_-], "
            "found 'f g'");
  EXPECT_EQ(refusal({{"user", "a"}, Result("b")}),
            "invalid argument: messages[1].role: expected a tool's message to answer a tool call "
            "before it, found none open");
  EXPECT_EQ(refusal({{"user", "a"}, call, Result("b"), Result("c")}),
            "invalid argument: messages[3].role: expected a tool's message to answer a tool call "
            "before it, found none open");
  EXPECT_EQ(refusal({{"user", "a"}, call, {"user", "b"}, {"assistant", "c"}}),
            "invalid argument: messages[3].role: expected an answer to every tool call, found 1 "
            "without");
  EXPECT_EQ(
      refusal({{"user", "a"}, call, Result("b"), {"user", "c"}}),
      "invalid argument: messages[3].role: expected assistant or tool after tool, found user");
  EXPECT_EQ(refusal({{"user", "a"}, {"assistant", "b"}, call}),
            "invalid argument: messages[2].tool_calls: expected text or tool calls in a row of "
            "assistant messages, found both");
  Message both = call;
  both.content = "b";
  EXPECT_EQ(
      refusal({{"user", "a"}, both}),
      "invalid argument: messages[1].content: expected none beside tool calls, found 1 bytes");
  EXPECT_EQ(refusal({{"user", "a"}, {"assistant", ""}}),
            "invalid argument: messages[1].content: expected text or tool calls, found an empty "
            "assistant message");
  Message of_user = call;
  of_user.role = "user";
  EXPECT_EQ(refusal({of_user}),
            "invalid argument: messages[0].tool_calls: expected none in a message that isn't an "
            "assistant's, found 1");
  EXPECT_EQ(refusal({{"robot", "a"}}),
            "invalid argument: messages[0].role: expected system, user, assistant or tool, found "
            "'robot'");
}

TEST(Tools, ParametersAreAnObject) {
  for (const char* parameters : {"", "[]", "{", "1"}) {
    const Tool tools[] = {{"f", "", parameters}};
    EXPECT_EQ(
        Refusal(ChatFormat::kMistralV3, {{"user", "a"}}, {.tools = tools}),
        fmt::format("invalid argument: tools[0].parameters: expected a JSON object, found '{}'",
                    parameters));
  }
  const Tool unnamed[] = {{"", "", "{}"}};
  EXPECT_EQ(Refusal(ChatFormat::kMistralV2, {{"user", "a"}}, {.tools = unnamed}),
            "invalid argument: tools[0].name: expected 1 to 64 of [a-zA-Z0-9_-], found ''");
}

TEST(Tools, OtherFormatsHaveNoPlaceForThem) {
  const Tokenizer v1 = test::SmallTokenizer();
  const Message call = Calls({{"abcdefghi", "f", "{}"}});
  for (const ChatFormat format :
       {ChatFormat::kMistralV1, ChatFormat::kLlama2, ChatFormat::kChatMl, ChatFormat::kNone}) {
    EXPECT_EQ(Refusal(format, {{"user", "a"}}, {.tools = kTools}),
              fmt::format("invalid argument: chat format {}: expected no tools, found 2",
                          ChatFormatName(format)));
    EXPECT_EQ(Refusal(format, {{"user", "a"}, call}),
              "invalid argument: messages[1].tool_calls: expected none in this format, found 1");
  }
}

TEST(Tools, NeedTheirPieces) {
  const Tokenizer tokenizer =
      test::SmallTokenizer({{"[INST]", PieceType::kControl}, {"[/INST]", PieceType::kControl}});
  const ChatTemplate chat(ChatFormat::kMistralV3, &tokenizer);
  const Messages messages = {{"user", "a"}};
  EXPECT_EQ(ErrorOf([&] { chat.Render(messages, {.tools = kTools}); }),
            "unsupported: chat format mistral-v3: expected a piece [AVAILABLE_TOOLS] in the "
            "vocabulary, found none");
  EXPECT_EQ(ErrorOf([&] { chat.Render(messages); }), "");
}

}  // namespace
}  // namespace mixtral
