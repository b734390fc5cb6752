// SPDX-License-Identifier: Apache-2.0
// Explain: the rule of each token, one "piece <- rule" a line, '_' for U+2581.
#include <gtest/gtest.h>

#include "text/chat_template.h"
#include "text/test_templates.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using Messages = std::vector<Message>;

std::string Explained(const ChatTemplate& chat, const Tokenizer& tokenizer,
                      const Messages& messages, const RenderOptions& options = {}) {
  std::string lines;
  std::vector<TokenId> ids;
  for (const ExplainedToken& token : chat.Explain(messages, options)) {
    EXPECT_EQ(token.piece, tokenizer.Piece(token.id));
    lines += fmt::format("{} <- {}\n", test::Show(tokenizer, {token.id}), token.rule);
    ids.push_back(token.id);
  }
  EXPECT_EQ(ids, chat.Render(messages, options));
  return lines;
}

TEST(Explain, MistralV1) {
  const Tokenizer tokenizer = test::SmallTokenizer();
  const ChatTemplate chat(ChatFormat::kMistralV1, &tokenizer);
  EXPECT_EQ(Explained(chat, tokenizer,
                      {{"system", "b"}, {"user", "hello"}, {"assistant", "ab"}, {"user", "\n"}}),
            "<s> <- BOS\n"
            "_ <- user turn 1: [INST]\n"
            "[ <- user turn 1: [INST]\n"
            "INST <- user turn 1: [INST]\n"
            "] <- user turn 1: [INST]\n"
            "_ <- user turn 1: [INST]\n"
            "b <- user turn 1: system prompt\n"
            "<0x0A> <- user turn 1: system prompt\n"
            "<0x0A> <- user turn 1: system prompt\n"
            "hello <- user turn 1 content\n"
            "_ <- user turn 1: [/INST]\n"
            "[ <- user turn 1: [/INST]\n"
            "/ <- user turn 1: [/INST]\n"
            "INST <- user turn 1: [/INST]\n"
            "] <- user turn 1: [/INST]\n"
            "_a <- assistant turn 1 content\n"
            "b <- assistant turn 1 content\n"
            "</s> <- EOS after assistant turn 1\n"
            "_ <- user turn 2: [INST]\n"
            "[ <- user turn 2: [INST]\n"
            "INST <- user turn 2: [INST]\n"
            "] <- user turn 2: [INST]\n"
            "_ <- user turn 2: [INST]\n"
            "<0x0A> <- user turn 2 content\n"
            "_ <- user turn 2: [/INST]\n"
            "[ <- user turn 2: [/INST]\n"
            "/ <- user turn 2: [/INST]\n"
            "INST <- user turn 2: [/INST]\n"
            "] <- user turn 2: [/INST]\n");
}

TEST(Explain, MistralV3WithTools) {
  const Tokenizer tokenizer = test::SmallTokenizer(test::InstructPieces());
  const ChatTemplate chat(ChatFormat::kMistralV3, &tokenizer);
  Messages messages = {{"user", "a"}};
  messages.push_back({.role = "assistant", .tool_calls = {{"abcdefghi", "f", ""}}});
  messages.push_back({.role = "tool", .content = "1", .tool_call_id = "abcdefghi"});
  const Tool tools[] = {{"f", "", "{}"}};
  std::vector<std::string> rules;
  for (const ExplainedToken& token : chat.Explain(messages, {.tools = tools})) {
    if (rules.empty() || rules.back() != token.rule) rules.push_back(token.rule);
  }
  EXPECT_EQ(rules, (std::vector<std::string>{
                       "BOS", "user turn 1: [AVAILABLE_TOOLS]", "user turn 1: tools",
                       "user turn 1: [/AVAILABLE_TOOLS]", "user turn 1: [INST]",
                       "user turn 1 content", "user turn 1: [/INST]",
                       "assistant turn 1: [TOOL_CALLS]", "assistant turn 1 tool calls",
                       "EOS after assistant turn 1", "tool result 1: [TOOL_RESULTS]",
                       "tool result 1 content", "tool result 1: [/TOOL_RESULTS]"}));
}

TEST(Explain, Templates) {
  const Tokenizer tokenizer = test::SmallTokenizer();
  const ChatTemplate chat(test::kV1Template, &tokenizer);
  EXPECT_EQ(Explained(chat, tokenizer, {{"user", "ab"}, {"assistant", "a\xF0\x9F\x98\x80"}}),
            "<s> <- BOS\n"
            "_ <- template text\n"
            "[ <- template text\n"
            "INST <- template text\n"
            "] <- template text\n"
            "_a <- message 1 (user) content\n"
            "b <- message 1 (user) content\n"
            "_ <- template text\n"
            "[ <- template text\n"
            "/ <- template text\n"
            "INST <- template text\n"
            "] <- template text\n"
            "_a <- message 2 (assistant) content\n"
            "<0xF0> <- message 2 (assistant) content\n"
            "<0x9F> <- message 2 (assistant) content\n"
            "<0x98> <- message 2 (assistant) content\n"
            "<0x80> <- message 2 (assistant) content\n"
            "</s> <- template: </s>\n");
}

TEST(Explain, BrokenTextHasTheRulesOfTheWhole) {
  const Tokenizer tokenizer = test::SmallTokenizer();
  const ChatTemplate chat(ChatFormat::kNone, &tokenizer);
  const std::string all = "message 1 content + line feed between messages + message 2 content";
  for (const ExplainedToken& token : chat.Explain(Messages{{"user", "a\xFF"}, {"user", "b"}})) {
    EXPECT_EQ(token.rule, token.id == 1 ? "BOS" : all);
  }
}

}  // namespace
}  // namespace mixtral
