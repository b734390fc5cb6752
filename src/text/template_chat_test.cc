// SPDX-License-Identifier: Apache-2.0
// Templates against the built-in encoders, and what only templates have: marks in text, a BOS of
// their own, refusals. '|' between pieces, '_' for U+2581.
#include "text/template_chat.h"

#include <gtest/gtest.h>

#include "text/test_templates.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::Extra;
using test::SmallTokenizer;
using Messages = std::vector<Message>;

constexpr RenderOptions kContinue{.continue_final_message = true};
constexpr std::string_view kPlain =
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}";

const Extra kImPieces = {{"<|im_start|>", PieceType::kControl},
                         {"<|im_end|>", PieceType::kUserDefined}};

std::string Rendered(std::string_view jinja, const Messages& messages,
                     const RenderOptions& options = {}, const Extra& extra = {}) {
  const Tokenizer tokenizer = SmallTokenizer(extra);
  return test::Show(tokenizer, ChatTemplate(jinja, &tokenizer).Render(messages, options));
}

/// The conversations on which a template and its format are compared.
std::vector<std::pair<Messages, RenderOptions>> Conversations() {
  return {{{{"user", "a"}}, {}},
          {{{"user", "hello a"}, {"assistant", "b  c"}, {"user", "[INST] </s>"}}, {}},
          {{{"user", " a"}, {"assistant", "\n b."}, {"user", ""}, {"assistant", "d"}}, {}},
          {{{"user", "a"}, {"assistant", "hello ab"}}, kContinue},
          {{{"system", "hell"}, {"user", "a\n"}, {"assistant", "b"}, {"user", "c"}}, {}},
          {{{"system", "a b"}, {"user", "x\xC3\xA9"}, {"assistant", "b"}}, {}}};
}

void ExpectSame(std::string_view jinja, ChatFormat format, const Extra& extra) {
  const Tokenizer tokenizer = SmallTokenizer(extra);
  const ChatTemplate by_template(jinja, &tokenizer), built_in(format, &tokenizer);
  for (const auto& [messages, options] : Conversations()) {
    EXPECT_EQ(test::Show(tokenizer, by_template.Render(messages, options)),
              test::Show(tokenizer, built_in.Render(messages, options)));
  }
  EXPECT_EQ(by_template.StopTokens(), built_in.StopTokens());
  EXPECT_EQ(by_template.StopStrings(),
            built_in.StopTokens().size() > 1 ? std::vector<std::string>{} : built_in.StopStrings());
  EXPECT_EQ(RecogniseTemplate(jinja, tokenizer), format);
}

TEST(TemplateChat, WritesWhatTheBuiltInFormatsWrite) {
  ExpectSame(test::kV1Template, ChatFormat::kMistralV1, {});
  ExpectSame(test::kV1SpacedTemplate, ChatFormat::kMistralV1, {});
  ExpectSame(test::kV3Template, ChatFormat::kMistralV3, test::InstructPieces());
  ExpectSame(test::kLlama2Template, ChatFormat::kLlama2, {});
  ExpectSame(test::kChatMlTemplateWithNewlines, ChatFormat::kChatMl, kImPieces);
  ExpectSame(test::kChatMlTemplateWithNewlines, ChatFormat::kChatMl, {});
  ExpectSame(test::kChatMlTemplate, ChatFormat::kChatMl, kImPieces);
}

TEST(TemplateChat, WritesToolsAsV3Does) {
  const Tokenizer tokenizer = SmallTokenizer(test::InstructPieces());
  const Tool tools[] = {{"hello", "a b", R"({"type": "object"})"}};
  Messages messages = {{"system", "b"}, {"user", "a"}};
  messages.push_back({.role = "assistant", .tool_calls = {{"abcdefghi", "hello", "{\"a\":1}"}}});
  messages.push_back({.role = "tool", .content = "cold", .tool_call_id = "abcdefghi"});
  const RenderOptions options{.tools = tools};
  EXPECT_EQ(
      test::Show(tokenizer, ChatTemplate(test::kV3Template, &tokenizer).Render(messages, options)),
      test::Show(tokenizer,
                 ChatTemplate(ChatFormat::kMistralV3, &tokenizer).Render(messages, options)));
}

TEST(TemplateChat, HasBosOnce) {
  const Messages messages = {{"user", "a"}};
  EXPECT_EQ(Rendered(kPlain, messages), "<s>|_a");
  EXPECT_EQ(Rendered("{% for m in messages %}{{ m.content }}{% endfor %}", messages), "<s>|_a");
  EXPECT_EQ(Rendered("{{ bos_token ~ bos_token }} {{ bos_token ~ messages[0].content }}", messages),
            "<s>|_a");
  EXPECT_EQ(Rendered("{{ messages[0].content ~ bos_token ~ bos_token }}b", messages),
            "<s>|_a|<s>|<s>|_|b");
}

TEST(TemplateChat, ALeadingSpaceIsTheDummyPrefix) {
  const Messages messages = {{"user", "a"}};
  EXPECT_EQ(Rendered("{{ bos_token }}b{{ eos_token }} b{{ eos_token }}  b", messages),
            "<s>|_|b|</s>|_|b|</s>|__|b");
  EXPECT_EQ(Rendered("{{ bos_token }} {{ eos_token }}", messages), "<s>|</s>");
  VocabularyLists lists = test::SmallLists();
  lists.add_space_prefix = false;
  const Tokenizer tokenizer = Tokenizer::FromVocabulary(lists);
  const ChatTemplate chat("{{ bos_token }}b{{ eos_token }} b", &tokenizer);
  EXPECT_EQ(test::Show(tokenizer, chat.Render(messages)), "<s>|b|</s>|_|b");
}

TEST(TemplateChat, MarkersInMessagesStayText) {
  const std::string text = "<|im_end|><s></s>";
  const Tokenizer tokenizer =
      SmallTokenizer({{"<|im_start|>", PieceType::kControl}, {"<|im_end|>", PieceType::kControl}});
  const ChatTemplate chat(kPlain, &tokenizer);
  const Messages messages = {{"user", text}};
  std::vector<TokenId> expected = tokenizer.Encode(text, AddBos::kYes);
  EXPECT_EQ(chat.Render(messages), expected);
  // Of results and arguments too, however they are written there.
  const ChatTemplate calls(
      "{% for m in messages if m.tool_calls is defined %}"
      "{{ m.tool_calls[0].function.arguments.a }}{% endfor %}",
      &tokenizer);
  Messages with_call = {{"user", "a"}};
  with_call.push_back(
      {.role = "assistant", .tool_calls = {{"", "f", R"({"a": "\u003c|im_end|><s></s>"})"}}});
  EXPECT_EQ(calls.Render(with_call), expected);
}

TEST(TemplateChat, BrokenUtf8IsReplaced) {
  EXPECT_EQ(Rendered(kPlain, {{"user", "a\xFF\xFE"}}),
            Rendered(kPlain, {{"user", "a\uFFFD\uFFFD"}}));
}

TEST(TemplateChat, FindsTheLongestSpecialPiece) {
  const Extra extra = {{"<|a", PieceType::kControl},      {"<|a|>", PieceType::kControl},
                       {"<|a|>b", PieceType::kControl},   {"<|u|>", PieceType::kUserDefined},
                       {"user", PieceType::kUserDefined}, {"h", PieceType::kUnused}};
  const Tokenizer tokenizer = SmallTokenizer({extra.begin(), extra.end() - 1});
  const SpecialPieces specials(tokenizer);
  const auto found = [&](std::string_view text, size_t from) {
    const auto match = specials.Find(text, from);
    return match ? fmt::format("{} {}", match->at, tokenizer.Piece(match->id)) : "none";
  };
  EXPECT_EQ(found("x<|a|>c", 0), "1 <|a|>");
  EXPECT_EQ(found("x<|a|>b", 1), "1 <|a|>b");
  EXPECT_EQ(found("<|a|", 0), "0 <|a");
  EXPECT_EQ(found("<|a|>", 1), "none");
  EXPECT_EQ(found("<|<|u|>", 0), "2 <|u|>");
  EXPECT_EQ(found("user hello", 0), "none");  // a user-defined word is the tokenizer's business
  EXPECT_EQ(found("", 0), "none");
}

TEST(TemplateChat, SaysWhenATurnIsOver) {
  const Tokenizer tokenizer = SmallTokenizer(kImPieces);
  const ChatTemplate chatml(test::kChatMlTemplate, &tokenizer);
  EXPECT_EQ(chatml.StopTokens(), (std::vector<TokenId>{2, *tokenizer.FindSpecial("<|im_end|>")}));
  EXPECT_TRUE(chatml.StopStrings().empty());
  const Tokenizer plain = SmallTokenizer();
  const ChatTemplate text(test::kChatMlTemplate, &plain);
  EXPECT_EQ(text.StopTokens(), std::vector<TokenId>{2});
  EXPECT_EQ(text.StopStrings(), std::vector<std::string>{"<|im_end|>"});
  EXPECT_TRUE(ChatTemplate(kPlain, &plain).StopStrings().empty());
}

TEST(TemplateChat, RefusalsAreTheTemplates) {
  EXPECT_EQ(ErrorOf([] {
              Rendered(test::kV1TightTemplate, {{"user", "a"}, {"user", "b"}});
            }),
            "invalid argument: chat template: roles must alternate");
  EXPECT_EQ(
      ErrorOf([] {
        Rendered("{{ messages[0].content | f }}", {{"user", "a"}});
      }),
      "unsupported: chat template line 1: filter f: filter 'f' is not supported for a string");
  EXPECT_EQ(
      ErrorOf([] {
        Rendered("{{ messages | length }}", {{"user", "a"}, {"assistant", "b"}}, kContinue);
      }),
      "unsupported: chat template: expected it to write the message to be continued, found no "
      "trace");
  EXPECT_EQ(ErrorOf([] { Rendered(kPlain, {}); }),
            "invalid argument: messages: expected at least one, found none");
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(ErrorOf([&] { ChatTemplate(ChatFormat::kTemplate, &tokenizer); }),
            "invalid argument: chat format template: expected a model with a chat template, found "
            "none");
}

TEST(RecogniseTemplate, GoesByWhatIsWritten) {
  const Tokenizer v1 = SmallTokenizer(), v3 = SmallTokenizer(test::InstructPieces());
  EXPECT_EQ(RecogniseTemplate(test::kV1TightTemplate, v1),
            ChatFormat::kMistralV1);  // but for spaces
  EXPECT_EQ(RecogniseTemplate(test::kV1TightTemplate, v3), ChatFormat::kMistralV3);
  EXPECT_EQ(RecogniseTemplate(test::kLlama2Template, v3), ChatFormat::kLlama2);
  EXPECT_EQ(RecogniseTemplate(kPlain, v1), ChatFormat::kTemplate);
  EXPECT_EQ(RecogniseTemplate(std::string(test::kV1Template) + "!", v1), ChatFormat::kTemplate);
  // Like mistral-v1 but for the system prompt.
  EXPECT_EQ(RecogniseTemplate("{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
                              "{{ '<<' ~ m.content ~ '>>' }}{% elif m.role == 'user' %}"
                              "{{ '[INST] ' ~ m.content ~ ' [/INST]' }}{% else %}"
                              "{{ ' ' ~ m.content ~ eos_token }}{% endif %}{% endfor %}",
                              v1),
            ChatFormat::kTemplate);
}

TEST(ChooseChatFormat, SaysWhy) {
  const Tokenizer v1 = SmallTokenizer(), v3 = SmallTokenizer(test::InstructPieces());
  const auto choice = [](std::optional<std::string> jinja, const Tokenizer& tokenizer) {
    const ChatFormatChoice chosen = ChooseChatFormat(jinja, tokenizer);
    return fmt::format("{}: {}", ChatFormatName(chosen.format), chosen.reason);
  };
  const std::string own = "the model's own chat template";
  EXPECT_EQ(choice({}, v1), "mistral-v1: the vocabulary has no control piece [INST]");
  EXPECT_EQ(choice({}, v3), "mistral-v3: the vocabulary has the control piece [INST]");
  EXPECT_EQ(choice(std::string(test::kV1Template), v1),
            "mistral-v1: " + own + " writes the same ids");
  EXPECT_EQ(choice(std::string(test::kV1TightTemplate), v1),
            "mistral-v1: " + own + " writes the same but for spaces");
  EXPECT_EQ(choice(std::string(test::kLlama2Template), v1),
            "llama-2: " + own + " writes the same ids");
  EXPECT_EQ(choice(std::string(kPlain), v1),
            "template: " + own + ", which writes none of the other formats");
}

TEST(RecogniseTemplate, RefusesWithTheListOfFormats) {
  const Tokenizer tokenizer = SmallTokenizer();
  const std::string list =
      ", in the model's own chat template (chat formats to name instead: none, mistral-v1, "
      "mistral-v2, "
      "mistral-v3, llama-2, chatml)";
  EXPECT_EQ(ErrorOf([&] { RecogniseTemplate("{{ f() }}", tokenizer); }),
            "unsupported: chat template line 1: function f: is not supported" + list);
  EXPECT_EQ(ErrorOf([&] { RecogniseTemplate("{{ raise_exception('never') }}", tokenizer); }),
            "unsupported: chat template: it refuses a plain conversation: 'never'" + list);
  EXPECT_EQ(ErrorOf([&] { RecogniseTemplate("{{", tokenizer); }),
            "corrupt: chat template line 1: expected }} after {{, found the template's end" + list);
}

}  // namespace
}  // namespace mixtral
