// SPDX-License-Identifier: Apache-2.0
// Two bytes that no UTF-8 text has travel through the template inside message text: one breaks
// special pieces that a message contains, so that they stay text; the other says where the message
// to be continued ends. Both are taken out again before the tokenizer sees anything.
#include "text/template_chat.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "text/tool_text.h"

namespace mixtral {
namespace {

using jinja::Value;

constexpr char kBreakMark = '\xFF';
constexpr std::string_view kEndMark = "\xFE";

std::string WithoutMarks(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) { return c == kBreakMark || c == kEndMark[0]; });
  return out;
}

/// A part of the rendered text that came from a message.
struct Span {
  size_t begin, end;
  std::string rule;
};

/// Where each message's text is in the rendered text, as far as templates leave it alone.
std::vector<Span> FindContents(std::string_view text, std::span<const std::string> contents,
                               std::span<const Message> messages) {
  constexpr size_t kProbeBytes = 32;  // bounds what a search may cost
  std::vector<Span> spans;
  size_t from = 0;
  for (size_t i = 0; i < contents.size(); ++i) {
    const std::string_view content = contents[i];
    if (content.empty()) continue;
    const size_t at = text.find(content.substr(0, kProbeBytes), from);
    if (at == std::string_view::npos || !text.substr(at).starts_with(content)) continue;
    from = at + content.size();
    spans.push_back({at, from, fmt::format("message {} ({}) content", i + 1, messages[i].role)});
  }
  return spans;
}

/// Writes text[begin, end) in parts, each with the rule of its span. spans are in order; those
/// that end before begin are dropped from it.
void WriteParts(std::string_view text, size_t begin, size_t end, std::span<const Span>* spans,
                TokenWriter* writer) {
  while (!spans->empty() && spans->front().end <= begin) *spans = spans->subspan(1);
  for (const Span& span : *spans) {
    if (span.begin >= end) break;
    const size_t first = std::max(span.begin, begin), last = std::min(span.end, end);
    writer->Text(WithoutMarks(text.substr(begin, first - begin)), "template text");
    writer->Text(WithoutMarks(text.substr(first, last - first)), span.rule);
    begin = last;
  }
  writer->Text(WithoutMarks(text.substr(begin, end - begin)), "template text");
  writer->EndText();
}

std::string PieceOrNothing(const Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? "" : std::string(tokenizer.Piece(id));
}

}  // namespace

TemplateChat::TemplateChat(std::string_view jinja, const Tokenizer* tokenizer)
    : tokenizer_(tokenizer), specials_(*tokenizer), template_(jinja) {
  FindStop();
}

std::string TemplateChat::Marked(std::string_view text) const {
  const std::string valid = ReplaceInvalidUtf8(text);
  std::string marked;
  for (size_t from = 0;;) {
    const auto match = specials_.Find(valid, from);
    if (!match) return marked.append(valid, from);
    marked.append(valid, from, match->at + 1 - from);
    if (match->size > 1) marked.push_back(kBreakMark);
    from = match->at + 1;
  }
}

Value TemplateChat::Marked(const Value& value) const {
  if (value.Is(jinja::Type::kString)) return Value::String(Marked(value.string()));
  if (value.Is(jinja::Type::kList)) {
    jinja::List items;
    for (const Value& item : value.list()) items.push_back(Marked(item));
    return Value::MakeList(std::move(items));
  }
  if (!value.Is(jinja::Type::kDict)) return value;
  jinja::Dict items;
  for (const auto& [key, item] : value.dict()) items.emplace_back(Marked(key), Marked(item));
  return Value::MakeDict(std::move(items));
}

Value TemplateChat::MessageValue(const Message& message, std::string_view end_mark) const {
  jinja::Dict dict = {{"role", Value::String(message.role)},
                      {"content", Value::String(Marked(message.content) + std::string(end_mark))}};
  jinja::List calls;
  for (const ToolCall& call : message.tool_calls) {
    jinja::Dict function = {{"name", Value::String(Marked(call.name))},
                            {"arguments", Marked(JsonOrText(call.arguments))}};
    calls.push_back(Value::MakeDict({{"id", Value::String(Marked(call.id))},
                                     {"type", Value::String("function")},
                                     {"function", Value::MakeDict(std::move(function))}}));
  }
  if (!calls.empty()) dict.emplace_back("tool_calls", Value::MakeList(std::move(calls)));
  if (!message.tool_call_id.empty()) {
    dict.emplace_back("tool_call_id", Value::String(Marked(message.tool_call_id)));
  }
  if (!message.name.empty()) dict.emplace_back("name", Value::String(Marked(message.name)));
  return Value::MakeDict(std::move(dict));
}

jinja::Output TemplateChat::Evaluate(std::span<const Message> messages,
                                     const RenderOptions& options) const {
  jinja::List list, tools;
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool is_continued = options.continue_final_message && i + 1 == messages.size();
    list.push_back(MessageValue(messages[i], is_continued ? kEndMark : ""));
  }
  for (size_t i = 0; i < options.tools.size(); ++i) {
    tools.push_back(Marked(ToolValue(options.tools[i], i)));
  }
  const bool prompts = options.add_generation_prompt && messages.back().role != "assistant";
  const Tokenizer& t = *tokenizer_;
  return template_.TryRender(
      {{"messages", Value::MakeList(std::move(list))},
       {"tools", tools.empty() ? Value::None() : Value::MakeList(std::move(tools))},
       {"bos_token", Value::String(PieceOrNothing(t, t.bos_id()))},
       {"eos_token", Value::String(PieceOrNothing(t, t.eos_id()))},
       {"unk_token", Value::String(PieceOrNothing(t, t.unk_id()))},
       {"add_generation_prompt", Value::Bool(prompts)}});
}

void TemplateChat::WriteText(std::string_view text, std::span<const Message> messages,
                             TokenWriter* writer) const {
  std::vector<std::string> contents;
  for (const Message& message : messages) contents.push_back(Marked(message.content));
  const std::vector<Span> found = FindContents(text, contents, messages);
  std::span<const Span> spans = found;

  writer->Id(tokenizer_->bos_id(), "BOS");
  bool at_begin = true;  // the template's own BOS is the one that is there already
  for (size_t at = 0; at < text.size();) {
    const auto special = specials_.Find(text, at);
    const size_t end = special ? special->at : text.size();
    // A space at the begin of a part is the dummy prefix that the tokenizer puts there.
    if (at < end && text[at] == ' ' && tokenizer_->adds_dummy_prefix()) ++at;
    if (at < end) {
      WriteParts(text, at, end, &spans, writer);
      at_begin = false;
    }
    if (!special) break;
    if (!at_begin || special->id != tokenizer_->bos_id()) {
      const std::string_view piece = tokenizer_->Piece(special->id);
      writer->Id(special->id, fmt::format("template: {}", piece));
      at_begin = false;
    }
    at = end + special->size;
  }
}

std::optional<std::string> TemplateChat::TryWrite(std::span<const Message> messages,
                                                  const RenderOptions& options,
                                                  TokenWriter* writer) const {
  const jinja::Output output = Evaluate(messages, options);
  if (output.raised) return WithoutMarks(*output.raised);
  std::string_view text = output.text;
  if (options.continue_final_message) {
    const size_t end = text.rfind(kEndMark);
    if (end == std::string_view::npos) {
      Throw(ErrorCode::kUnsupported,
            "chat template: expected it to write the message to be continued, found no trace");
    }
    text = text.substr(0, end);
  }
  WriteText(text, messages, writer);
  return std::nullopt;
}

void TemplateChat::Write(std::span<const Message> messages, const RenderOptions& options,
                         TokenWriter* writer) const {
  const std::optional<std::string> raised = TryWrite(messages, options, writer);
  if (raised) Throw(ErrorCode::kInvalidArgument, "chat template: {}", Printable(*raised, 200));
}

void TemplateChat::FindStop() {
  const Message messages[] = {{"user", "a"}, {"assistant", "b"}};
  const jinja::Output output = Evaluate(messages, {.continue_final_message = true});
  const size_t end = output.text.rfind(kEndMark);
  if (output.raised || end == std::string::npos) return;
  std::string_view after = std::string_view(output.text).substr(end + kEndMark.size());
  after.remove_prefix(std::min(after.find_first_not_of(" \n"), after.size()));
  const auto special = specials_.Find(after, 0);
  if (special && special->at == 0) {
    stop_token_ = special->id;
  } else if (after.starts_with('<') && after.find('>') < 40) {  // a marker that is no piece
    stop_string_ = after.substr(0, after.find('>') + 1);
  }
}

}  // namespace mixtral
