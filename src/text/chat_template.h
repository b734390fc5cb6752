// SPDX-License-Identifier: Apache-2.0
// Conversations -> token ids in the known Mistral/Mixtral formats, token-exact with Mistral's own
// encoders, or by a model's own Jinja template. docs/chat.md has each format's exact rendering and
// where it comes from.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mixtral {

/// kTemplate: the model's own Jinja template.
enum class ChatFormat : uint8_t {
  kNone,
  kMistralV1,
  kMistralV2,
  kMistralV3,
  kLlama2,
  kChatMl,
  kTemplate
};

/// A call that an assistant's message makes.
struct ToolCall {
  std::string id;         // mistral-v3: nine of [a-zA-Z0-9]
  std::string name;       // one to 64 of [a-zA-Z0-9_-]
  std::string arguments;  // JSON text
};

struct Message {
  std::string role = {};  // "system", "user", "assistant", "tool"
  std::string content = {};
  std::vector<ToolCall> tool_calls = {};  // an assistant's; then content is empty
  std::string tool_call_id = {};          // a tool's: the call that this answers
  std::string name = {};                  // a tool's: the function's name
};

/// A function that the model may call.
struct Tool {
  std::string name;
  std::string description;
  std::string parameters = "{}";  // JSON text: an object, the arguments' JSON Schema
};

std::span<const std::string_view> ChatFormatNames();  // "none", "mistral-v1", ..., "template"
ChatFormat ChatFormatFromName(
    std::string_view name);  // throws kInvalidArgument with the list and the nearest name
std::string_view ChatFormatName(ChatFormat format);
/// mistral-v1 when the vocabulary has no control [INST], else mistral-v3.
ChatFormat DefaultChatFormat(const Tokenizer& tokenizer);
/// Whether the vocabulary has every piece that the format cannot do without.
bool FormatFits(ChatFormat format, const Tokenizer& tokenizer);
/// The format that writes what the template writes for a probe conversation, up to spaces
/// (published templates disagree about them; ours are the model's own). kTemplate when none does.
/// Throws Error{kCorrupt, kUnsupported} with the list of formats when the template cannot be
/// evaluated.
ChatFormat RecogniseTemplate(std::string_view jinja, const Tokenizer& tokenizer);

/// A chat format and the reason for it, for people to read.
struct ChatFormatChoice {
  ChatFormat format = ChatFormat::kNone;
  std::string reason;
};
/// The format of a model: by its own template (jinja) if it has one, else by its vocabulary. Throws
/// what RecogniseTemplate throws.
ChatFormatChoice ChooseChatFormat(const std::optional<std::string>& jinja,
                                  const Tokenizer& tokenizer);

struct RenderOptions {
  bool continue_final_message =
      false;  // the last message is an assistant's to be continued: no EOS after it
  bool add_generation_prompt =
      true;  // formats with an assistant header (chatml) end with it after a user's message
  std::span<const Tool> tools = {};  // mistral-v2, mistral-v3 and template only
};

/// A token of a rendered conversation and the rule that put it there, for people to read: "BOS",
/// "user turn 1: [INST]", "user turn 1 content", "EOS after assistant turn 1".
struct ExplainedToken {
  TokenId id = -1;
  std::string piece;  // as stored in the vocabulary
  std::string rule;
};

class TemplateChat;
class TokenWriter;

class ChatTemplate {
 public:
  /// Throws Error{kUnsupported} when the vocabulary lacks a control piece that the format needs.
  ChatTemplate(ChatFormat format, const Tokenizer* tokenizer);
  /// kTemplate, from the template's text. Throws Error{kCorrupt, kUnsupported} naming the line of
  /// what is not supported; a part of the template that only some conversations reach is refused
  /// when one does.
  ChatTemplate(std::string_view jinja, const Tokenizer* tokenizer);
  /// BOS exactly once (llama-2: once for each pair of turns, as Meta's encoder does). Throws
  /// Error{kInvalidArgument} for an unknown role, no messages, an empty assistant message, tool
  /// calls and results that don't fit, or nothing to continue, naming the message's index; also
  /// when the template refuses the conversation.
  std::vector<TokenId> Render(std::span<const Message> messages,
                              const RenderOptions& options = {}) const;
  /// The same tokens, each with its rule.
  std::vector<ExplainedToken> Explain(std::span<const Message> messages,
                                      const RenderOptions& options = {}) const;
  ChatFormat format() const { return format_; }
  /// Text after which the assistant's turn is over, beside EOS (chatml: "<|im_end|>"); may be
  /// empty.
  std::vector<std::string> StopStrings() const;
  /// Ids after which the assistant's turn is over: EOS, and the format's own end piece where the
  /// vocabulary has it (a control piece decodes to nothing, so no stop string can see it).
  std::vector<TokenId> StopTokens() const;

 private:
  void Write(std::span<const Message> messages, const RenderOptions& options,
             TokenWriter* writer) const;

  ChatFormat format_;
  const Tokenizer* tokenizer_;
  std::shared_ptr<const TemplateChat> template_;  // of kTemplate
};

}  // namespace mixtral
