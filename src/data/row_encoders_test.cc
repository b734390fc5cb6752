// SPDX-License-Identifier: Apache-2.0
// Rows to tokens and masks, token by token: '*' marks what is trained on.
#include "data/row_encoders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/test_files.h"
#include "text/test_vocabulary.h"

namespace mixtral::data {
namespace {

using mixtral::test::Extra;
using mixtral::test::InstructPieces;
using test::MessageOf;
using ::testing::HasSubstr;

/// Runs of equal mask: what is trained on in {...}.
std::string Shown(const Tokenizer& tokenizer, const Document& document) {
  EXPECT_EQ(document.mask.size(), document.tokens.size());
  std::string text;
  for (size_t begin = 0; begin < document.tokens.size();) {
    size_t end = begin;
    while (end < document.tokens.size() && document.mask[end] == document.mask[begin]) ++end;
    const auto at = document.tokens.begin();
    const std::string run = mixtral::test::Show(
        tokenizer, {at + static_cast<ptrdiff_t>(begin), at + static_cast<ptrdiff_t>(end)});
    text += document.mask[begin] != 0 ? "{" + run + "}" : run;
    begin = end;
  }
  return text;
}

EncodedRow Encode(const RowEncoder& encode, const std::string& row) {
  return encode({.bytes = row}, FileKind::kJsonLines);
}

class Chat {
 public:
  explicit Chat(ChatFormat format, const Extra& extra = {})
      : tokenizer_(mixtral::test::SmallTokenizer(extra)), template_(format, &tokenizer_) {}
  explicit Chat(const std::string& jinja)
      : tokenizer_(mixtral::test::SmallTokenizer()),
        template_(std::string_view(jinja), &tokenizer_) {}

  std::string Sft(const std::string& row) const {
    return Shown(tokenizer_, Encode(MakeChatEncoder(&template_), row).documents.at(0));
  }
  std::string SftError(const std::string& row) const {
    return MessageOf([&] { Encode(MakeChatEncoder(&template_), row); });
  }
  std::pair<std::string, std::string> Pair(const std::string& row) const {
    const EncodedRow encoded = Encode(MakePreferenceEncoder(&template_), row);
    EXPECT_EQ(encoded.documents.size(), 2u);
    return {Shown(tokenizer_, encoded.documents.at(0)), Shown(tokenizer_, encoded.documents.at(1))};
  }
  std::string PairError(const std::string& row) const {
    return MessageOf([&] { Encode(MakePreferenceEncoder(&template_), row); });
  }

 private:
  Tokenizer tokenizer_;
  ChatTemplate template_;
};

constexpr const char* kTwoTurns =
    R"({"messages": [{"role": "system", "content": "d"}, {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "ab"}, {"role": "user", "content": "c"},
        {"role": "assistant", "content": "hell"}]})";

TEST(ChatRows, MistralV1) {
  EXPECT_EQ(Chat(ChatFormat::kMistralV1).Sft(kTwoTurns),
            "<s>|_|[|INST|]|_|d|<0x0A>|<0x0A>|hello|_|[|/|INST|]{_a|b|</s>}"
            "_|[|INST|]|_|c|_|[|/|INST|]{_|hell|</s>}");
}

TEST(ChatRows, MistralV3WithTools) {
  const Chat chat(ChatFormat::kMistralV3, InstructPieces());
  EXPECT_EQ(chat.Sft(kTwoTurns),
            "<s>|[INST]|_hello|[/INST]{_a|b|</s>}[INST]|_|d|<0x0A>|<0x0A>|c|[/INST]{_|hell|</s>}");
  const std::string shown = chat.Sft(
      R"({"messages": [{"role": "user", "content": "a"},
          {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "type": "function",
           "function": {"name": "f", "arguments": {}}}]},
          {"role": "tool", "tool_call_id": "abcdefghi", "name": "f", "content": "1"},
          {"role": "assistant", "content": "b"}],
          "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]})");
  EXPECT_THAT(shown, HasSubstr("|[/INST]{[TOOL_CALLS]|"));
  EXPECT_THAT(shown, HasSubstr("|</s>}[TOOL_RESULTS]|"));
  EXPECT_THAT(shown, HasSubstr("|[/TOOL_RESULTS]{_|b|</s>}"));
}

TEST(ChatRows, Llama2AndChatMl) {
  EXPECT_EQ(Chat(ChatFormat::kLlama2).Sft(R"({"messages": [{"role": "user", "content": "c"},
                         {"role": "assistant", "content": "hell"}]})"),
            "<s>|_|[|INST|]|_|c|_|[|/|INST|]{_|hell|_|</s>}");
  const Chat chatml(ChatFormat::kChatMl,
                    {{"<|im_start|>", PieceType::kControl}, {"<|im_end|>", PieceType::kControl}});
  EXPECT_EQ(chatml.Sft(R"({"messages": [{"role": "user", "content": "c"},
                           {"role": "assistant", "content": "ab"}]})"),
            "<s>|<|im_start|>|_|<0x75>|<0x73>|e|<0x72>|<0x0A>|c|<|im_end|>|_|<0x0A>|"
            "<|im_start|>|_a|<0x73>|<0x73>|<0x69>|<0x73>|<0x74>|a|<0x6E>|<0x74>|<0x0A>"
            "{ab|<|im_end|>}_|<0x0A>");
}

TEST(ChatRows, ATemplatesAnswersWithTheirEnd) {
  const Chat chat(
      "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST]' + "
      "m['content'] + "
      "'[/INST]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}");
  EXPECT_EQ(chat.Sft(R"({"messages": [{"role": "user", "content": "c"},
                         {"role": "assistant", "content": "hell"}, {"role": "user", "content": "c"},
                         {"role": "assistant", "content": "d"}]})"),
            "<s>|_|[|INST|]|c|[|/|INST|]{hell|</s>}_|[|INST|]|c|[|/|INST|]{d|</s>}");
}

TEST(ChatRows, ShareGptAndPartsOfText) {
  const Chat chat(ChatFormat::kMistralV1);
  const std::string expected = chat.Sft(kTwoTurns);
  EXPECT_EQ(chat.Sft(R"({"id": "x", "conversations": [{"from": "system", "value": "d"},
                         {"from": "human", "value": "hello"}, {"from": "gpt", "value": "ab"},
                         {"from": "user", "value": "c"}, {"from": "model", "value": "hell"}]})"),
            expected);
  EXPECT_EQ(chat.Sft(R"({"messages": [{"role": "system", "content": "d"},
                         {"role": "user", "content": [{"type": "text", "text": "hel"},
                                                      {"type": "text", "text": "lo"}]},
                         {"role": "assistant", "content": "ab"}, {"role": "user", "content": "c"},
                         {"role": "assistant", "content": "hell"}]})"),
            expected);
}

TEST(ChatRows, WrongRowsSayWhatIsWrong) {
  const Chat chat(ChatFormat::kMistralV1);
  EXPECT_THAT(chat.SftError("{"), HasSubstr("the row"));
  EXPECT_THAT(chat.SftError("{}"), HasSubstr("$.messages"));
  EXPECT_THAT(chat.SftError(R"({"messages": 5})"), HasSubstr("$.messages"));
  EXPECT_THAT(chat.SftError(R"({"messages": [{"role": "user"}]})"),
              HasSubstr("$.messages[0].content"));
  EXPECT_THAT(chat.SftError(R"({"messages": [{"role": "robot", "content": "a"}]})"),
              HasSubstr("robot"));
  EXPECT_THAT(chat.SftError(R"({"messages": [{"role": "user", "content": "a"}]})"),
              HasSubstr("expected an assistant's message, found none"));
  EXPECT_THAT(chat.SftError(R"({"conversations": [{"from": "cat", "value": "a"}]})"),
              HasSubstr("$.conversations[0].from: expected human, gpt or system, found 'cat'"));
  EXPECT_THAT(chat.SftError(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})"),
              HasSubstr("expected a part of type text, found 'image'"));
  EXPECT_THAT(MessageOf([&] {
                const Tokenizer tokenizer = mixtral::test::SmallTokenizer();
                const ChatTemplate chat_template(ChatFormat::kMistralV1, &tokenizer);
                MakeChatEncoder (&chat_template)({.bytes = kTwoTurns}, FileKind::kText);
              }),
              HasSubstr("expected a .jsonl file"));
}

TEST(PreferenceRows, TheLossIsOnTheLastAnswer) {
  const Chat chat(ChatFormat::kMistralV1);
  const std::pair<std::string, std::string> expected = {
      "<s>|_|[|INST|]|_|c|_|[|/|INST|]{_a|b|</s>}", "<s>|_|[|INST|]|_|c|_|[|/|INST|]{_|hell|</s>}"};
  EXPECT_EQ(chat.Pair(R"({"prompt": "c", "chosen": "ab", "rejected": "hell"})"), expected);
  EXPECT_EQ(chat.Pair(R"({"prompt": [{"role": "user", "content": "c"}],
                          "chosen": [{"role": "assistant", "content": "ab"}],
                          "rejected": [{"role": "assistant", "content": "hell"}]})"),
            expected);
  const char* whole = R"("chosen": [{"role": "user", "content": "c"},
                                    {"role": "assistant", "content": "ab"}],
                         "rejected": [{"from": "human", "value": "c"},
                                      {"from": "gpt", "value": "hell"}]})";
  EXPECT_EQ(chat.Pair(std::string(R"({"prompt": "c", )") + whole), expected);
  EXPECT_EQ(chat.Pair(std::string("{") + whole), expected);
  EXPECT_EQ(chat.Pair(R"({"prompt": [{"role": "user", "content": "c"},
                                     {"role": "assistant", "content": "ab"},
                                     {"role": "user", "content": "d"}],
                          "chosen": "a", "rejected": "ab"})")
                .first,
            "<s>|_|[|INST|]|_|c|_|[|/|INST|]|_a|b|</s>|_|[|INST|]|_|d|_|[|/|INST|]{_a|</s>}");
}

TEST(PreferenceRows, WrongRowsSayWhatIsWrong) {
  const Chat chat(ChatFormat::kMistralV1);
  EXPECT_THAT(chat.PairError(R"({"chosen": "a", "rejected": "b"})"), HasSubstr("$.prompt"));
  EXPECT_THAT(chat.PairError(R"({"prompt": "c", "chosen": "a"})"), HasSubstr("$.rejected"));
  EXPECT_THAT(chat.PairError(R"({"prompt": "c", "chosen": "a", "rejected": "a"})"),
              HasSubstr("are the same"));
  EXPECT_THAT(chat.PairError(R"({"prompt": "c", "chosen": "a", "rejected": 3})"),
              HasSubstr("$.rejected"));
  EXPECT_THAT(chat.PairError(R"({"prompt": "c", "chosen": [{"role": "user", "content": "a"}],
                                 "rejected": "b"})"),
              HasSubstr("$.chosen: expected an assistant's message at the end"));
  EXPECT_THAT(chat.PairError(R"({"prompt": "c", "chosen": [{"role": "user", "content": "d"},
                                 {"role": "assistant", "content": "a"}], "rejected": "b"})"),
              HasSubstr("do not answer the same prompt"));
}

TEST(PreferenceRows, EqualPromptsGoToOneSplit) {
  const Tokenizer tokenizer = mixtral::test::SmallTokenizer();
  const ChatTemplate chat(ChatFormat::kMistralV1, &tokenizer);
  const RowEncoder encode = MakePreferenceEncoder(&chat);
  const auto key = [&](const char* row) { return Encode(encode, row).split_key; };
  EXPECT_EQ(key(R"({"prompt": "c", "chosen": "a", "rejected": "b"})"),
            key(R"({"prompt": "c", "chosen": "d", "rejected": "e"})"));
  EXPECT_NE(key(R"({"prompt": "c", "chosen": "a", "rejected": "b"})"),
            key(R"({"prompt": "d", "chosen": "a", "rejected": "b"})"));
}

TEST(TextRows, FilesAndFields) {
  const Tokenizer tokenizer = mixtral::test::SmallTokenizer();
  const RowEncoder encode = MakeTextEncoder(&tokenizer, "body");
  const auto show = [&](const EncodedRow& row) {
    return mixtral::test::Show(tokenizer, row.documents.at(0).tokens);
  };
  EXPECT_EQ(show(encode({.bytes = "hello\nab"}, FileKind::kText)), "<s>|_hello|<0x0A>|ab|</s>");
  EXPECT_EQ(show(Encode(encode, R"({"body": "hello", "text": 3})")), "<s>|_hello|</s>");
  EXPECT_TRUE(Encode(encode, R"({"body": " \n"})").documents.empty());
  EXPECT_THAT(MessageOf([&] { Encode(encode, R"({"text": "a"})"); }), HasSubstr("$.body"));
  EXPECT_THAT(MessageOf([&] { encode({.bytes = "a\xFF"}, FileKind::kText); }),
              HasSubstr("expected UTF-8"));
}

}  // namespace
}  // namespace mixtral::data
