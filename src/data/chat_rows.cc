// SPDX-License-Identifier: Apache-2.0
// Chat rows as they are found: OpenAI's messages (content as text or as parts of text, calls of
// tools) and ShareGPT's conversations with its several names of one role.
#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_encoders.h"

namespace mixtral::data {
namespace {

constexpr std::pair<std::string_view, std::string_view> kShareGptRoles[] = {
    {"human", "user"},        {"user", "user"},           {"gpt", "assistant"},
    {"chatgpt", "assistant"}, {"assistant", "assistant"}, {"model", "assistant"},
    {"system", "system"}};

std::string TextOf(const Json& content) {
  if (!content.IsArray()) return content.AsString();
  std::string text;
  for (size_t i = 0; i < content.Size(); ++i) {
    const Json part = content.At(i);
    if (const std::string type = part.At("type").AsString(); type != "text")
      Throw(ErrorCode::kUnsupported, "{}: expected a part of type text, found '{}'", part.path(),
            Printable(type));
    text += part.At("text").AsString();
  }
  return text;
}

std::string JsonText(const Json& value) {
  return value.IsString() ? value.AsString() : value.Dump();
}

std::vector<ToolCall> ParseCalls(const Json& list) {
  std::vector<ToolCall> calls;
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json call = list.At(i), function = call.At("function");
    const auto id = call.Find("id");
    calls.push_back({.id = id ? id->AsString() : "",
                     .name = function.At("name").AsString(),
                     .arguments = JsonText(function.At("arguments"))});
  }
  return calls;
}

Message ParseMessage(const Json& json) {
  Message message = {.role = json.At("role").AsString()};
  if (const auto content = json.Find("content")) message.content = TextOf(*content);
  if (const auto calls = json.Find("tool_calls")) message.tool_calls = ParseCalls(*calls);
  if (const auto id = json.Find("tool_call_id")) message.tool_call_id = id->AsString();
  if (const auto name = json.Find("name")) message.name = name->AsString();
  if (!json.Find("content") && message.tool_calls.empty()) json.At("content").AsString();  // throws
  return message;
}

Message ParseShareGpt(const Json& json) {
  const std::string from = json.At("from").AsString();
  const auto* it = std::find_if(std::begin(kShareGptRoles), std::end(kShareGptRoles),
                                [&](const auto& entry) { return entry.first == from; });
  if (it == std::end(kShareGptRoles))
    Throw(ErrorCode::kCorrupt, "{}.from: expected human, gpt or system, found '{}'", json.path(),
          Printable(from));
  return {.role = std::string(it->second), .content = json.At("value").AsString()};
}

std::vector<Tool> ParseTools(const Json& list) {
  std::vector<Tool> tools;
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json function = list.At(i).At("function");
    Tool tool = {.name = function.At("name").AsString(), .description = ""};
    if (const auto text = function.Find("description")) tool.description = text->AsString();
    if (const auto schema = function.Find("parameters")) tool.parameters = schema->Dump();
    tools.push_back(std::move(tool));
  }
  return tools;
}

/// Rules of ChatTemplate::Explain that the assistant's own tokens have.
bool IsAnswerRule(std::string_view rule) {
  if (rule.starts_with("assistant turn ") || rule.starts_with("EOS after assistant turn "))
    return true;
  return rule.starts_with("message ") && rule.find(" (assistant)") != std::string_view::npos &&
         (rule.ends_with(" content") || rule.ends_with(": <|im_end|>"));
}

bool IsTemplateContent(std::string_view rule) {
  return rule.starts_with("message ") && rule.ends_with(" (assistant) content");
}

void RequireJsonLines(FileKind kind) {
  if (kind != FileKind::kJsonLines)
    Throw(ErrorCode::kInvalidArgument, "expected a .jsonl file (or .jsonl.gz, .jsonl.zst)");
}

std::string JoinedText(std::span<const Message> messages) {
  std::string text;
  for (const Message& message : messages) {
    text += message.content + "\n";
    for (const ToolCall& call : message.tool_calls) text += call.name + " " + call.arguments + "\n";
  }
  return text;
}

Document RenderChat(const ParsedChat& chat, const ChatTemplate& chat_template) {
  const RenderOptions options = {.add_generation_prompt = false, .tools = chat.tools};
  const std::vector<ExplainedToken> tokens = chat_template.Explain(chat.messages, options);
  Document document = {.tokens = {}, .mask = AnswerMask(tokens, chat_template)};
  for (const ExplainedToken& token : tokens) document.tokens.push_back(token.id);
  return document;
}

/// Only the last run of ones stays.
void KeepLastAnswer(std::vector<uint8_t>* mask) {
  const auto end = std::find(mask->rbegin(), mask->rend(), 1);
  const auto begin = std::find(end, mask->rend(), 0);
  std::fill(begin, mask->rend(), 0);
}

/// The whole conversation: `answer` is a text, the messages after the prompt, or all messages.
ParsedChat WithAnswer(const ParsedChat& prompt, const Json& answer) {
  ParsedChat chat = prompt;
  if (answer.IsString()) {
    chat.messages.push_back({.role = "assistant", .content = answer.AsString()});
    return chat;
  }
  std::vector<Message> more = ParseMessages(answer);
  if (!more.empty() && more.front().role != "assistant") chat.messages.clear();
  chat.messages.insert(chat.messages.end(), more.begin(), more.end());
  if (chat.messages.empty() || chat.messages.back().role != "assistant")
    Throw(ErrorCode::kCorrupt, "{}: expected an assistant's message at the end", answer.path());
  return chat;
}

ParsedChat ParsePrompt(const Json& row) {
  ParsedChat prompt;
  if (const auto tools = row.Find("tools")) prompt.tools = ParseTools(*tools);
  const auto json = row.Find("prompt");
  if (!json && row.At("chosen").IsArray() && row.At("rejected").IsArray()) return prompt;
  const Json value = row.At("prompt");
  if (value.IsString())
    prompt.messages.push_back({.role = "user", .content = value.AsString()});
  else
    prompt.messages = ParseMessages(value);
  return prompt;
}

EncodedRow EncodePair(const Json& row, const ChatTemplate& chat_template) {
  const ParsedChat prompt = ParsePrompt(row);
  EncodedRow encoded;
  for (const char* key : {"chosen", "rejected"}) {
    const ParsedChat chat = WithAnswer(prompt, row.At(key));
    Document document = RenderChat(chat, chat_template);
    KeepLastAnswer(&document.mask);
    encoded.documents.push_back(std::move(document));
    encoded.text += JoinedText(chat.messages);
    if (encoded.split_key.empty())
      encoded.split_key = JoinedText(std::span(chat.messages).first(chat.messages.size() - 1));
  }
  const Document &chosen = encoded.documents[0], &rejected = encoded.documents[1];
  if (chosen.tokens == rejected.tokens)
    Throw(ErrorCode::kCorrupt, "chosen and rejected are the same");
  const auto prompt_size = [](const Document& document) {
    return std::find(document.mask.begin(), document.mask.end(), 1) - document.mask.begin();
  };
  const auto n = prompt_size(chosen);
  if (n != prompt_size(rejected) ||
      !std::equal(chosen.tokens.begin(), chosen.tokens.begin() + n, rejected.tokens.begin()))
    Throw(ErrorCode::kCorrupt, "chosen and rejected do not answer the same prompt");
  return encoded;
}

}  // namespace

std::vector<Message> ParseMessages(const Json& list) {
  std::vector<Message> messages;
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json json = list.At(i);
    messages.push_back(json.Find("from") ? ParseShareGpt(json) : ParseMessage(json));
  }
  return messages;
}

ParsedChat ParseChat(const Json& row) {
  ParsedChat chat;
  if (const auto tools = row.Find("tools")) chat.tools = ParseTools(*tools);
  const auto conversations = row.Find("conversations");
  chat.messages = ParseMessages(conversations ? *conversations : row.At("messages"));
  return chat;
}

std::vector<uint8_t> AnswerMask(std::span<const ExplainedToken> tokens,
                                const ChatTemplate& chat_template) {
  if (chat_template.format() == ChatFormat::kNone)
    Throw(ErrorCode::kUnsupported, "chat format none: it does not say who speaks");
  const std::vector<TokenId> ends = chat_template.StopTokens();
  std::vector<uint8_t> mask(tokens.size(), 0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string& rule = tokens[i].rule;
    if (rule.find(" + ") != std::string::npos)
      Throw(ErrorCode::kUnsupported,
            "characters that the vocabulary does not have: which tokens are the answer's cannot be "
            "told");
    mask[i] = IsAnswerRule(rule) ? 1 : 0;
    // A template's own text has no speaker, but what ends a turn directly after it is the answer's.
    if (chat_template.format() == ChatFormat::kTemplate && i > 0 &&
        IsTemplateContent(tokens[i - 1].rule) &&
        std::find(ends.begin(), ends.end(), tokens[i].id) != ends.end())
      mask[i] = 1;
  }
  if (!mask.empty()) mask[0] = 0;
  return mask;
}

RowEncoder MakeChatEncoder(const ChatTemplate* chat_template) {
  return [chat_template](const RawRow& raw, FileKind kind) {
    RequireJsonLines(kind);
    const ParsedChat chat = ParseChat(Json::Parse(raw.bytes, "the row"));
    EncodedRow encoded;
    encoded.text = JoinedText(chat.messages);
    encoded.split_key = encoded.text;
    encoded.documents.push_back(RenderChat(chat, *chat_template));
    const std::vector<uint8_t>& mask = encoded.documents[0].mask;
    if (std::find(mask.begin(), mask.end(), 1) == mask.end())
      Throw(ErrorCode::kCorrupt, "expected an assistant's message, found none");
    return encoded;
  };
}

RowEncoder MakePreferenceEncoder(const ChatTemplate* chat_template) {
  return [chat_template](const RawRow& raw, FileKind kind) {
    RequireJsonLines(kind);
    return EncodePair(Json::Parse(raw.bytes, "the row"), *chat_template);
  };
}

}  // namespace mixtral::data
