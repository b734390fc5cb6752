// SPDX-License-Identifier: Apache-2.0
// One function for each chat format. What a string and what an id is matters: text between control
// ids is encoded on its own, with a dummy prefix of its own.
#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "text/conversation.h"

namespace mixtral {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"none",       "mistral-v1", "mistral-v2",
                                                    "mistral-v3", "llama-2",    "chatml"};
constexpr std::string_view kImStart = "<|im_start|>", kImEnd = "<|im_end|>";

/// Ids of text and special pieces in order. Neighbouring texts are one text: they are encoded when
/// the next id comes.
class IdWriter {
 public:
  explicit IdWriter(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Text(std::string_view text) { text_ += text; }
  void EndText() {
    const std::vector<TokenId> ids = tokenizer_.Encode(text_, AddBos::kNo);
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    text_.clear();
  }
  void Id(TokenId id) {
    EndText();
    if (id >= 0) ids_.push_back(id);
  }
  void Special(std::string_view piece) {
    const std::optional<TokenId> id = tokenizer_.FindSpecial(piece);
    if (id) {
      Id(*id);
    } else {
      Text(piece);
    }
  }
  std::vector<TokenId> Take() {
    EndText();
    return std::move(ids_);
  }

 private:
  const Tokenizer& tokenizer_;
  std::string text_;
  std::vector<TokenId> ids_;
};

struct Rendering {
  const Tokenizer& tokenizer;
  std::span<const Message> messages;
  const RenderOptions& options;

  bool IsContinued(size_t turn, size_t n_turns) const {
    return options.continue_final_message && turn + 1 == n_turns;
  }
};

std::string WithSystem(const Conversation& conversation, const std::string& content) {
  return conversation.system.empty() ? content : conversation.system + "\n\n" + content;
}

std::vector<TokenId> RenderMistralV1(const Rendering& r) {
  const Conversation conversation = MakeConversation(r.messages, JoinAcross::kNothing);
  IdWriter writer(r.tokenizer);
  writer.Id(r.tokenizer.bos_id());
  for (size_t i = 0; i < conversation.turns.size(); ++i) {
    const Turn& turn = conversation.turns[i];
    if (turn.speaker == Speaker::kUser) {
      const std::string content = i == 0 ? WithSystem(conversation, turn.content) : turn.content;
      writer.Text("[INST] " + content + " [/INST]");
      writer.EndText();
    } else {
      writer.Text(turn.content);
      writer.EndText();
      if (!r.IsContinued(i, conversation.turns.size())) writer.Id(r.tokenizer.eos_id());
    }
  }
  return writer.Take();
}

/// Versions 2 and 3 differ in how tools are written, which we don't do, so one function does both.
std::vector<TokenId> RenderMistralV2V3(const Rendering& r) {
  const Conversation conversation = MakeConversation(r.messages, JoinAcross::kNothing);
  const std::vector<Turn>& turns = conversation.turns;
  size_t last_user = turns.size() - 1;
  while (turns[last_user].speaker != Speaker::kUser) --last_user;  // the first is a user's

  IdWriter writer(r.tokenizer);
  writer.Id(r.tokenizer.bos_id());
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].speaker == Speaker::kUser) {
      writer.Special("[INST]");
      writer.Text(i == last_user ? WithSystem(conversation, turns[i].content) : turns[i].content);
      writer.Special("[/INST]");
    } else {
      const std::string& content = turns[i].content;
      writer.Text(std::string_view(content).substr(0, content.find_last_not_of(' ') + 1));
      writer.EndText();
      if (!r.IsContinued(i, turns.size())) writer.Id(r.tokenizer.eos_id());
    }
  }
  return writer.Take();
}

enum class Strip : uint8_t { kBoth, kLeft };

std::string_view StripSpace(std::string_view text, Strip sides) {
  constexpr std::string_view kSpace = " \t\n\v\f\r\x1C\x1D\x1E\x1F";  // ASCII part of str.strip()
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  const size_t end = sides == Strip::kLeft ? text.size() : text.find_last_not_of(kSpace) + 1;
  return text.substr(begin, end - begin);
}

std::vector<TokenId> RenderLlama2(const Rendering& r) {
  Conversation conversation = MakeConversation(r.messages, JoinAcross::kSystem);
  std::vector<Turn>& turns = conversation.turns;  // user's and assistant's in turn
  if (!conversation.system.empty()) {
    turns[0].content = "<<SYS>>\n" + conversation.system + "\n<</SYS>>\n\n" + turns[0].content;
  }
  IdWriter writer(r.tokenizer);
  for (size_t i = 0; i < turns.size(); i += 2) {
    writer.Id(r.tokenizer.bos_id());
    writer.Text("[INST] ");
    writer.Text(StripSpace(turns[i].content, Strip::kBoth));
    writer.Text(" [/INST]");
    if (i + 1 == turns.size()) break;
    const bool continued = r.IsContinued(i + 1, turns.size());
    writer.Text(" ");
    writer.Text(StripSpace(turns[i + 1].content, continued ? Strip::kLeft : Strip::kBoth));
    if (continued) break;
    writer.Text(" ");
    writer.Id(r.tokenizer.eos_id());
  }
  return writer.Take();
}

std::vector<TokenId> RenderChatMl(const Rendering& r) {
  IdWriter writer(r.tokenizer);
  writer.Id(r.tokenizer.bos_id());
  for (size_t i = 0; i < r.messages.size(); ++i) {
    writer.Special(kImStart);
    writer.Text(r.messages[i].role + "\n" + r.messages[i].content);
    if (r.IsContinued(i, r.messages.size())) return writer.Take();
    writer.Special(kImEnd);
    writer.Text("\n");
  }
  if (r.options.add_generation_prompt && r.messages.back().role != "assistant") {
    writer.Special(kImStart);
    writer.Text("assistant\n");
  }
  return writer.Take();
}

std::vector<TokenId> RenderNone(const Rendering& r) {
  std::string text;
  for (size_t i = 0; i < r.messages.size(); ++i) {
    if (i > 0) text += '\n';
    text += r.messages[i].content;
  }
  return r.tokenizer.Encode(text, AddBos::kYes);
}

void Require(bool present, ChatFormat format, std::string_view piece) {
  if (present) return;
  Throw(ErrorCode::kUnsupported,
        "chat format {}: expected a piece {} in the vocabulary, found none", ChatFormatName(format),
        piece);
}

}  // namespace

std::span<const std::string_view> ChatFormatNames() { return kNames; }

ChatFormat ChatFormatFromName(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found != kNames.end()) return static_cast<ChatFormat>(found - kNames.begin());
  const std::string_view nearest = NearestName(name, kNames);
  const std::vector<std::string> names(kNames.begin(), kNames.end());
  Throw(ErrorCode::kInvalidArgument, "chat format: expected one of {}, found '{}'{}",
        Join(names, ", "), Printable(name),
        nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest));
}

std::string_view ChatFormatName(ChatFormat format) { return kNames[static_cast<size_t>(format)]; }

ChatFormat DefaultChatFormat(const Tokenizer& tokenizer) {
  const std::optional<TokenId> inst = tokenizer.FindSpecial("[INST]");
  const bool control = inst && tokenizer.Type(*inst) == PieceType::kControl;
  return control ? ChatFormat::kMistralV3 : ChatFormat::kMistralV1;
}

ChatTemplate::ChatTemplate(ChatFormat format, const Tokenizer* tokenizer)
    : format_(format), tokenizer_(tokenizer) {
  if (format == ChatFormat::kNone || format == ChatFormat::kChatMl) return;
  Require(tokenizer->bos_id() >= 0, format, "<s> (BOS)");
  Require(tokenizer->eos_id() >= 0, format, "</s> (EOS)");
  if (format == ChatFormat::kMistralV1 || format == ChatFormat::kLlama2) return;
  Require(tokenizer->FindSpecial("[INST]").has_value(), format, "[INST]");
  Require(tokenizer->FindSpecial("[/INST]").has_value(), format, "[/INST]");
}

std::vector<TokenId> ChatTemplate::Render(std::span<const Message> messages,
                                          const RenderOptions& options) const {
  CheckMessages(messages, options);
  const Rendering rendering{*tokenizer_, messages, options};
  switch (format_) {
    case ChatFormat::kMistralV1:
      return RenderMistralV1(rendering);
    case ChatFormat::kMistralV2:
    case ChatFormat::kMistralV3:
      return RenderMistralV2V3(rendering);
    case ChatFormat::kLlama2:
      return RenderLlama2(rendering);
    case ChatFormat::kChatMl:
      return RenderChatMl(rendering);
    case ChatFormat::kNone:
      break;
  }
  return RenderNone(rendering);
}

std::vector<std::string> ChatTemplate::StopStrings() const {
  if (format_ != ChatFormat::kChatMl) return {};
  return {std::string(kImEnd)};
}

std::vector<TokenId> ChatTemplate::StopTokens() const {
  std::vector<TokenId> ids;
  if (tokenizer_->eos_id() >= 0) ids.push_back(tokenizer_->eos_id());
  if (format_ != ChatFormat::kChatMl) return ids;
  const std::optional<TokenId> end = tokenizer_->FindSpecial(kImEnd);
  if (end && *end != tokenizer_->eos_id()) ids.push_back(*end);
  return ids;
}

}  // namespace mixtral
