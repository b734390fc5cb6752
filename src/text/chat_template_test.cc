// SPDX-License-Identifier: Apache-2.0
// Each chat format as pieces one can read: '|' between ids, '_' for U+2581.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::Extra;
using test::SmallTokenizer;
using Messages = std::vector<Message>;

constexpr RenderOptions kContinue{.continue_final_message = true};

std::string Rendered(ChatFormat format, const Messages& messages, const RenderOptions& options = {},
                     const Extra& extra = {}) {
  const Tokenizer tokenizer = SmallTokenizer(extra);
  return test::Show(tokenizer, ChatTemplate(format, &tokenizer).Render(messages, options));
}

std::string V1(const Messages& messages, const RenderOptions& options = {}) {
  return Rendered(ChatFormat::kMistralV1, messages, options);
}

std::string V3(const Messages& messages, const RenderOptions& options = {}) {
  const Extra inst = {{"[INST]", PieceType::kControl}, {"[/INST]", PieceType::kControl}};
  const std::string v3 = Rendered(ChatFormat::kMistralV3, messages, options, inst);
  EXPECT_EQ(Rendered(ChatFormat::kMistralV2, messages, options, inst), v3);
  return v3;
}

// The byte pieces of "\n\n".
constexpr std::string_view kNn = "<0x0A>|<0x0A>";

std::string With(std::string_view format, std::string_view argument = kNn) {
  return fmt::format(fmt::runtime(format), argument);
}

TEST(MistralV1, EncodesEachTurnOnItsOwn) {
  EXPECT_EQ(V1({{"user", "a"}}), "<s>|_|[|INST|]|_a|_|[|/|INST|]");
  EXPECT_EQ(V1({{"user", "a"}, {"assistant", "hello"}, {"user", "b"}}),
            "<s>|_|[|INST|]|_a|_|[|/|INST|]|_hello|</s>|_|[|INST|]|_|b|_|[|/|INST|]");
  EXPECT_EQ(V1({{"user", "a"}, {"assistant", "b "}}),  // content is not stripped
            "<s>|_|[|INST|]|_a|_|[|/|INST|]|_|b|_|</s>");
}

TEST(MistralV1, PutsTheSystemPromptIntoTheFirstUserTurn) {
  const Messages messages = {{"system", "hello"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}};
  EXPECT_EQ(V1(messages), With("<s>|_|[|INST|]|_hello|{}|a|_|[|/|INST|]|_|b|</s>"
                               "|_|[|INST|]|_|c|_|[|/|INST|]"));
  EXPECT_EQ(V1({{"user", "a"}, {"system", ""}}), V1({{"user", "a"}}));
  EXPECT_EQ(V1({{"system", "b"}}), With("<s>|_|[|INST|]|_|b|{}|_|[|/|INST|]"));
}

TEST(MistralV1, JoinsMessagesOfOneRole) {
  EXPECT_EQ(V1({{"system", "b"}, {"user", "c"}, {"user", "d"}, {"system", "a"}}),
            With("<s>|_|[|INST|]|_|b|{0}|a|{0}|c|{0}|d|_|[|/|INST|]"));
  EXPECT_EQ(V1({{"user", "a"}, {"assistant", "b"}, {"assistant", "c"}}),
            With("<s>|_|[|INST|]|_a|_|[|/|INST|]|_|b|{}|c|</s>"));
  EXPECT_EQ(V1({{"user", ""}, {"user", "a"}, {"user", ""}}), V1({{"user", "a"}}));
  // A system message between keeps them apart, as in mistral-common.
  EXPECT_EQ(V1({{"user", "c"}, {"system", "b"}, {"user", "d"}}),
            With("<s>|_|[|INST|]|_|b|{}|c|_|[|/|INST|]|_|[|INST|]|_|d|_|[|/|INST|]"));
}

TEST(MistralV1, AConversationBeginsWithAUser) {
  EXPECT_EQ(V1({{"assistant", "hello"}}), "<s>|_|[|INST|]|__|[|/|INST|]|_hello|</s>");
}

TEST(MistralV1, ContinuesTheFinalMessage) {
  EXPECT_EQ(V1({{"user", "a"}, {"assistant", "hello"}}, kContinue),
            "<s>|_|[|INST|]|_a|_|[|/|INST|]|_hello");
  EXPECT_EQ(V1({{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}}, kContinue),
            "<s>|_|[|INST|]|_a|_|[|/|INST|]|_|b|</s>|_|[|INST|]|_|c|_|[|/|INST|]|_|d");
}

TEST(MistralV1, MarkersInContentAreText) {
  EXPECT_EQ(V1({{"user", "</s>[INST]"}}),
            "<s>|_|[|INST|]|_|<0x3C>|/|<0x73>|<0x3E>|[|INST|]|_|[|/|INST|]");
}

TEST(MistralV3, MarkersAreControlIds) {
  EXPECT_EQ(V3({{"user", "a"}, {"assistant", "hello"}, {"user", "b"}}),
            "<s>|[INST]|_a|[/INST]|_hello|</s>|[INST]|_|b|[/INST]");
  EXPECT_EQ(V3({{"user", "[INST]"}}), "<s>|[INST]|_|[|INST|]|[/INST]");
  EXPECT_EQ(V3({{"user", ""}}), "<s>|[INST]|[/INST]");
}

TEST(MistralV3, PutsTheSystemPromptIntoTheLastUserTurn) {
  EXPECT_EQ(V3({{"system", "hello"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}}),
            With("<s>|[INST]|_a|[/INST]|_|b|</s>|[INST]|_hello|{}|c|[/INST]"));
  EXPECT_EQ(V3({{"system", "hello"}, {"user", "a"}, {"assistant", "b"}}, kContinue),
            With("<s>|[INST]|_hello|{}|a|[/INST]|_|b"));
}

TEST(MistralV3, StripsSpacesAfterAnAnswer) {
  EXPECT_EQ(V3({{"user", "a  "}, {"assistant", " b  "}}), "<s>|[INST]|_a|__|[/INST]|__|b|</s>");
  EXPECT_EQ(V3({{"user", "a"}, {"assistant", "b\n "}}), "<s>|[INST]|_a|[/INST]|_|b|<0x0A>|</s>");
  EXPECT_EQ(V3({{"user", "a"}, {"assistant", "  "}}), "<s>|[INST]|_a|[/INST]|</s>");
}

TEST(Llama2, EachPairHasItsOwnBos) {
  EXPECT_EQ(Rendered(ChatFormat::kLlama2, {{"user", " a\n"}, {"assistant", " b "}, {"user", "c"}}),
            "<s>|_|[|INST|]|_a|_|[|/|INST|]|_|b|_|</s>|<s>|_|[|INST|]|_|c|_|[|/|INST|]");
  EXPECT_EQ(Rendered(ChatFormat::kLlama2, {{"user", "a"}, {"assistant", " b "}}, kContinue),
            "<s>|_|[|INST|]|_a|_|[|/|INST|]|_|b|_");
}

TEST(Llama2, HasASystemBlock) {
  const std::string sys = "<0x3C>|<0x3C>|S|<0x59>|S|<0x3E>|<0x3E>|<0x0A>|";
  const std::string end = "|<0x0A>|<0x3C>|<0x3C>|/|S|<0x59>|S|<0x3E>|<0x3E>|<0x0A>|<0x0A>|";
  EXPECT_EQ(Rendered(ChatFormat::kLlama2, {{"system", "hello"}, {"user", "a"}}),
            "<s>|_|[|INST|]|_|" + sys + "hello" + end + "a|_|[|/|INST|]");
  EXPECT_EQ(Rendered(ChatFormat::kLlama2, {{"user", "a"}, {"system", "hello"}, {"user", "b"}}),
            "<s>|_|[|INST|]|_|" + sys + "hello" + end + "a|<0x0A>|<0x0A>|b|_|[|/|INST|]");
}

const Extra kChatMlPieces = {
    {"<|im_start|>", PieceType::kControl}, {"<|im_end|>", PieceType::kUserDefined},
    {"user\n", PieceType::kUserDefined},   {"assistant\n", PieceType::kUserDefined},
    {"system\n", PieceType::kUserDefined}, {"\n", PieceType::kNormal}};

std::string ChatMl(const Messages& messages, const RenderOptions& options = {}) {
  std::string out = Rendered(ChatFormat::kChatMl, messages, options, kChatMlPieces);
  for (size_t at; (at = out.find('\n')) != std::string::npos;) out.replace(at, 1, "N");
  return out;
}

TEST(ChatMl, UsesSpecialPiecesOfTheVocabulary) {
  EXPECT_EQ(ChatMl({{"system", "b"}, {"user", "a"}}),
            "<s>|<|im_start|>|_|systemN|b|<|im_end|>|_|N|<|im_start|>|_|userN|a|<|im_end|>|_|N|"
            "<|im_start|>|_|assistantN");
  EXPECT_EQ(ChatMl({{"user", "a"}}, {.add_generation_prompt = false}),
            "<s>|<|im_start|>|_|userN|a|<|im_end|>|_|N");
  EXPECT_EQ(ChatMl({{"user", "a"}, {"assistant", "b"}}),
            "<s>|<|im_start|>|_|userN|a|<|im_end|>|_|N|<|im_start|>|_|assistantN|b|<|im_end|>|_|N");
  EXPECT_EQ(ChatMl({{"user", "a"}, {"assistant", "b"}}, kContinue),
            "<s>|<|im_start|>|_|userN|a|<|im_end|>|_|N|<|im_start|>|_|assistantN|b");
}

TEST(ChatMl, IsPlainTextWithoutThem) {
  const Tokenizer tokenizer = SmallTokenizer();
  const ChatTemplate chatml(ChatFormat::kChatMl, &tokenizer);
  const Messages messages = {{"user", "hello"}};
  EXPECT_EQ(
      chatml.Render(messages),
      tokenizer.Encode("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", AddBos::kYes));
}

TEST(ChatFormatNone, IsTheContentsInLines) {
  EXPECT_EQ(Rendered(ChatFormat::kNone, {{"system", "a"}, {"user", "hello"}, {"assistant", "b"}}),
            "<s>|_a|<0x0A>|hello|<0x0A>|b");
}

TEST(ChatTemplate, SaysWhenATurnIsOver) {
  const Tokenizer tokenizer = SmallTokenizer(kChatMlPieces);
  const ChatTemplate v1(ChatFormat::kMistralV1, &tokenizer);
  EXPECT_EQ(v1.format(), ChatFormat::kMistralV1);
  EXPECT_TRUE(v1.StopStrings().empty());
  EXPECT_EQ(v1.StopTokens(), std::vector<TokenId>{2});
  const ChatTemplate chatml(ChatFormat::kChatMl, &tokenizer);
  EXPECT_EQ(chatml.StopStrings(), std::vector<std::string>{"<|im_end|>"});
  EXPECT_EQ(chatml.StopTokens(), (std::vector<TokenId>{2, 289}));
}

TEST(ChatTemplate, RefusesWhatIsNoConversation) {
  EXPECT_EQ(ErrorOf([] { V1({}); }),
            "invalid argument: messages: expected at least one, found none");
  EXPECT_EQ(ErrorOf([] {
              V1({{"user", "a"}, {"tool", "b"}});
            }),
            "invalid argument: messages[1].role: expected system, user or assistant, found 'tool'");
  EXPECT_EQ(ErrorOf([] {
              V1({{"user", "a"}, {"assistant", ""}});
            }),
            "invalid argument: messages[1].content: expected text, found an empty assistant "
            "message");
  EXPECT_EQ(ErrorOf([] {
              V1({{"user", "a"}}, kContinue);
            }),
            "invalid argument: messages[0].role: expected assistant, whose message is to be "
            "continued, found user");
}

TEST(ChatTemplate, NeedsItsPieces) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(ErrorOf([&] { ChatTemplate(ChatFormat::kMistralV3, &tokenizer); }),
            "unsupported: chat format mistral-v3: expected a piece [INST] in the vocabulary, found "
            "none");
  VocabularyLists lists = test::SmallLists();
  lists.eos_id = -1;
  const Tokenizer without = Tokenizer::FromVocabulary(lists);
  EXPECT_NE(ErrorOf([&] { ChatTemplate(ChatFormat::kMistralV1, &without); }), "");
  EXPECT_EQ(ErrorOf([&] { ChatTemplate(ChatFormat::kNone, &without); }), "");
}

TEST(ChatFormat, HasNames) {
  for (const std::string_view name : ChatFormatNames()) {
    EXPECT_EQ(ChatFormatName(ChatFormatFromName(name)), name);
  }
  EXPECT_EQ(ChatFormatFromName("llama-2"), ChatFormat::kLlama2);
  EXPECT_EQ(ErrorOf([] { ChatFormatFromName("mistral-v4"); }),
            "invalid argument: chat format: expected one of none, mistral-v1, mistral-v2, "
            "mistral-v3, llama-2, chatml, template, found 'mistral-v4' (did you mean mistral-v1?)");
  EXPECT_EQ(ErrorOf([] { ChatFormatFromName("zephyr"); }),
            "invalid argument: chat format: expected one of none, mistral-v1, mistral-v2, "
            "mistral-v3, llama-2, chatml, template, found 'zephyr'");
}

TEST(ChatFormat, DefaultGoesByTheControlPiece) {
  EXPECT_EQ(DefaultChatFormat(SmallTokenizer()), ChatFormat::kMistralV1);
  EXPECT_EQ(DefaultChatFormat(SmallTokenizer({{"[INST]", PieceType::kUserDefined}})),
            ChatFormat::kMistralV1);
  EXPECT_EQ(DefaultChatFormat(SmallTokenizer({{"[INST]", PieceType::kControl}})),
            ChatFormat::kMistralV3);
}

}  // namespace
}  // namespace mixtral
