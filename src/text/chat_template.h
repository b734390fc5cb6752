// SPDX-License-Identifier: Apache-2.0
// Conversations -> token ids in the known Mistral/Mixtral formats, token-exact with Mistral's own
// encoders. docs/chat.md has each format's exact rendering and where it comes from.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace mixtral {

enum class ChatFormat : uint8_t { kNone, kMistralV1, kMistralV2, kMistralV3, kLlama2, kChatMl };

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

std::span<const std::string_view> ChatFormatNames();  // "none", "mistral-v1", ...
ChatFormat ChatFormatFromName(
    std::string_view name);  // throws kInvalidArgument with the list and the nearest name
std::string_view ChatFormatName(ChatFormat format);
/// mistral-v1 when the vocabulary has no control [INST], else mistral-v3.
ChatFormat DefaultChatFormat(const Tokenizer& tokenizer);

struct RenderOptions {
  bool continue_final_message =
      false;  // the last message is an assistant's to be continued: no EOS after it
  bool add_generation_prompt =
      true;  // formats with an assistant header (chatml) end with it after a user's message
};

class ChatTemplate {
 public:
  /// Throws Error{kUnsupported} when the vocabulary lacks a control piece that the format needs.
  ChatTemplate(ChatFormat format, const Tokenizer* tokenizer);
  /// BOS exactly once (llama-2: once for each pair of turns, as Meta's encoder does). Throws
  /// Error{kInvalidArgument} for an unknown role, no messages, an empty assistant message, or
  /// nothing to continue, naming the message's index.
  std::vector<TokenId> Render(std::span<const Message> messages,
                              const RenderOptions& options = {}) const;
  ChatFormat format() const { return format_; }
  /// Text after which the assistant's turn is over, beside EOS (chatml: "<|im_end|>"); may be
  /// empty.
  std::vector<std::string> StopStrings() const;
  /// Ids after which the assistant's turn is over: EOS, and the format's own end piece where the
  /// vocabulary has it (a control piece decodes to nothing, so no stop string can see it).
  std::vector<TokenId> StopTokens() const;

 private:
  ChatFormat format_;
  const Tokenizer* tokenizer_;
};

}  // namespace mixtral
