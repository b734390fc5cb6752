// SPDX-License-Identifier: Apache-2.0
// A template is known by what it writes, not by its text: the same format comes in dozens of
// spellings. The probes hold a second user's turn and a system prompt, where formats differ.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "text/chat_template.h"
#include "text/template_chat.h"

namespace mixtral {
namespace {

using Conversation = std::vector<Message>;

/// The pieces without spaces. Published templates of one model disagree about spaces beside its
/// markers, while the model knows the ids of its own encoder.
std::string WithoutSpaces(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) text += tokenizer.Piece(id);
  for (const std::string_view space : {"\xE2\x96\x81", " "}) {
    std::string kept;
    for (size_t at = 0;;) {
      const size_t next = text.find(space, at);
      kept.append(text, at, next - at);
      if (next == std::string::npos) break;
      at = next + space.size();
    }
    text = std::move(kept);
  }
  return text;
}

class Probe {
 public:
  Probe(const TemplateChat& chat, const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    plain_ = {{"user", "First question?"}, {"assistant", "An answer."}, {"user", "Second one?"}};
    with_system_ = plain_;
    with_system_.insert(with_system_.begin(), {"system", "Be brief."});
    refusal_ = Ids(chat, plain_, &plain_ids_);
    system_is_refused_ = Ids(chat, with_system_, &system_ids_).has_value();
  }

  /// What the template says against a plain conversation.
  const std::optional<std::string>& refusal() const { return refusal_; }

  enum class Spaces : uint8_t { kCount, kIgnored };
  bool Matches(ChatFormat format, Spaces spaces) const {
    if (!FormatFits(format, tokenizer_)) return false;
    const ChatTemplate built_in(format, &tokenizer_);
    return AreEqual(built_in.Render(plain_), plain_ids_, spaces) &&
           (system_is_refused_ || AreEqual(built_in.Render(with_system_), system_ids_, spaces));
  }

 private:
  std::optional<std::string> Ids(const TemplateChat& chat, const Conversation& messages,
                                 std::vector<TokenId>* ids) const {
    TokenWriter writer(tokenizer_);
    const std::optional<std::string> raised = chat.TryWrite(messages, {}, &writer);
    *ids = writer.TakeIds();
    return raised;
  }
  bool AreEqual(const std::vector<TokenId>& a, const std::vector<TokenId>& b, Spaces spaces) const {
    if (spaces == Spaces::kCount) return a == b;
    return WithoutSpaces(tokenizer_, a) == WithoutSpaces(tokenizer_, b);
  }

  const Tokenizer& tokenizer_;
  Conversation plain_, with_system_;
  std::vector<TokenId> plain_ids_, system_ids_;
  std::optional<std::string> refusal_;
  bool system_is_refused_ = false;
};

struct Recognised {
  ChatFormat format;
  Probe::Spaces spaces;  // how they were compared
};

Recognised Recognise(std::string_view jinja, const Tokenizer& tokenizer) {
  std::vector<std::string> names(ChatFormatNames().begin(), ChatFormatNames().end());
  std::erase(names, ChatFormatName(ChatFormat::kTemplate));
  const std::string context = fmt::format(
      "the model's own chat template (chat formats to name instead: {})", Join(names, ", "));
  return WithContext(context, [&]() -> Recognised {
    const Probe probe(TemplateChat(jinja, &tokenizer), tokenizer);
    if (probe.refusal()) {
      Throw(ErrorCode::kUnsupported, "chat template: it refuses a plain conversation: '{}'",
            Printable(*probe.refusal()));
    }
    const ChatFormat formats[] = {DefaultChatFormat(tokenizer), ChatFormat::kLlama2,
                                  ChatFormat::kChatMl};
    for (const auto spaces : {Probe::Spaces::kCount, Probe::Spaces::kIgnored}) {
      for (const ChatFormat format : formats) {
        if (probe.Matches(format, spaces)) return {format, spaces};
      }
    }
    return {ChatFormat::kTemplate, Probe::Spaces::kCount};
  });
}

}  // namespace

ChatFormat RecogniseTemplate(std::string_view jinja, const Tokenizer& tokenizer) {
  return Recognise(jinja, tokenizer).format;
}

ChatFormatChoice ChooseChatFormat(const std::optional<std::string>& jinja,
                                  const Tokenizer& tokenizer) {
  if (!jinja) {
    const ChatFormat format = DefaultChatFormat(tokenizer);
    return {format, format == ChatFormat::kMistralV1
                        ? "the vocabulary has no control piece [INST]"
                        : "the vocabulary has the control piece [INST]"};
  }
  const Recognised found = Recognise(*jinja, tokenizer);
  if (found.format == ChatFormat::kTemplate) {
    return {found.format, "the model's own chat template, which writes none of the other formats"};
  }
  return {found.format, found.spaces == Probe::Spaces::kCount
                            ? "the model's own chat template writes the same ids"
                            : "the model's own chat template writes the same but for spaces"};
}

}  // namespace mixtral
