// SPDX-License-Identifier: Apache-2.0
// Names, what each format needs of a vocabulary, and which function renders it.
#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "text/chat_formats.h"
#include "text/conversation.h"
#include "text/template_chat.h"
#include "text/token_writer.h"

namespace mixtral {
namespace {

constexpr std::array<std::string_view, 7> kNames = {
    "none", "mistral-v1", "mistral-v2", "mistral-v3", "llama-2", "chatml", "template"};

/// The first piece that the format needs and the vocabulary lacks, "" when there is none.
std::string_view MissingPiece(ChatFormat format, const Tokenizer& tokenizer) {
  if (format == ChatFormat::kNone || format == ChatFormat::kChatMl ||
      format == ChatFormat::kTemplate) {
    return "";
  }
  if (tokenizer.bos_id() < 0) return "<s> (BOS)";
  if (tokenizer.eos_id() < 0) return "</s> (EOS)";
  if (format == ChatFormat::kMistralV1 || format == ChatFormat::kLlama2) return "";
  for (const std::string_view piece : {"[INST]", "[/INST]"}) {
    if (!tokenizer.FindSpecial(piece)) return piece;
  }
  return "";
}

[[noreturn]] void RefusePiece(ChatFormat format, std::string_view piece) {
  Throw(ErrorCode::kUnsupported,
        "chat format {}: expected a piece {} in the vocabulary, found none", ChatFormatName(format),
        piece);
}

ToolRules ToolRulesOf(ChatFormat format) {
  switch (format) {
    case ChatFormat::kMistralV3:
      return ToolRules::kMistralV3;
    case ChatFormat::kMistralV2:
    case ChatFormat::kTemplate:
      return ToolRules::kMistral;
    default:
      return ToolRules::kNoTools;
  }
}

void RequireToolPieces(std::span<const Message> messages, const RenderOptions& options,
                       ChatFormat format, const Tokenizer& tokenizer) {
  const bool uses_tools =
      !options.tools.empty() || std::any_of(messages.begin(), messages.end(), [](const Message& m) {
        return m.role == "tool" || !m.tool_calls.empty();
      });
  if (!uses_tools) return;
  for (const std::string_view piece : {"[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]",
                                       "[TOOL_RESULTS]", "[/TOOL_RESULTS]"}) {
    if (!tokenizer.FindSpecial(piece)) RefusePiece(format, piece);
  }
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

bool FormatFits(ChatFormat format, const Tokenizer& tokenizer) {
  return MissingPiece(format, tokenizer).empty();
}

ChatTemplate::ChatTemplate(ChatFormat format, const Tokenizer* tokenizer)
    : format_(format), tokenizer_(tokenizer) {
  if (format == ChatFormat::kTemplate) {
    Throw(ErrorCode::kInvalidArgument,
          "chat format template: expected a model with a chat template, found none");
  }
  const std::string_view missing = MissingPiece(format, *tokenizer);
  if (!missing.empty()) RefusePiece(format, missing);
}

ChatTemplate::ChatTemplate(std::string_view jinja, const Tokenizer* tokenizer)
    : format_(ChatFormat::kTemplate),
      tokenizer_(tokenizer),
      template_(std::make_shared<const TemplateChat>(jinja, tokenizer)) {}

void ChatTemplate::Write(std::span<const Message> messages, const RenderOptions& options,
                         TokenWriter* writer) const {
  CheckMessages(messages, options, ToolRulesOf(format_), format_);
  const Rendering rendering{*tokenizer_, messages, options};
  switch (format_) {
    case ChatFormat::kMistralV1:
      return WriteMistralV1(rendering, writer);
    case ChatFormat::kMistralV2:
    case ChatFormat::kMistralV3:
      RequireToolPieces(messages, options, format_, *tokenizer_);
      return WriteMistralV2V3(rendering, format_, writer);
    case ChatFormat::kLlama2:
      return WriteLlama2(rendering, writer);
    case ChatFormat::kChatMl:
      return WriteChatMl(rendering, writer);
    case ChatFormat::kTemplate:
      return template_->Write(messages, options, writer);
    case ChatFormat::kNone:
      break;
  }
  WriteNone(rendering, writer);
}

std::vector<TokenId> ChatTemplate::Render(std::span<const Message> messages,
                                          const RenderOptions& options) const {
  TokenWriter writer(*tokenizer_);
  Write(messages, options, &writer);
  return writer.TakeIds();
}

std::vector<ExplainedToken> ChatTemplate::Explain(std::span<const Message> messages,
                                                  const RenderOptions& options) const {
  TokenWriter writer(*tokenizer_);
  Write(messages, options, &writer);
  return writer.TakeTokens();
}

std::vector<std::string> ChatTemplate::StopStrings() const {
  if (format_ == ChatFormat::kChatMl) return {std::string(kImEnd)};
  if (template_ && !template_->stop_string().empty()) return {template_->stop_string()};
  return {};
}

std::vector<TokenId> ChatTemplate::StopTokens() const {
  std::vector<TokenId> ids;
  if (tokenizer_->eos_id() >= 0) ids.push_back(tokenizer_->eos_id());
  std::optional<TokenId> end;
  if (format_ == ChatFormat::kChatMl) end = tokenizer_->FindSpecial(kImEnd);
  if (template_) end = template_->stop_token();
  if (end && *end != tokenizer_->eos_id()) ids.push_back(*end);
  return ids;
}

}  // namespace mixtral
