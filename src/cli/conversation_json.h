// SPDX-License-Identifier: Apache-2.0
// Conversations as JSON, in the form of OpenAI's chat requests: what `tokenize` reads and `chat`
// saves and loads. Unknown keys are refused.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"

namespace mixtral::cli {

struct ConversationInput {
  std::vector<Message> messages;
  std::vector<Tool> tools;
  bool continue_final_message = false;

  /// Refers to tools.
  RenderOptions Options() const;
};

/// A list of messages, or an object with "messages" and, if need be, "tools" and
/// "continue_final_message". A message has "role" and "content", and as the role wants it
/// "tool_calls", "tool_call_id" and "name". Throws Error{kCorrupt} naming the JSON path.
ConversationInput ReadConversation(const Json& value);

/// {"messages": [...]}, which ReadConversation reads.
Json ConversationToJson(std::span<const Message> messages);

/// Throws Error{kCorrupt} for a key of object that is not known.
void RefuseUnknownKeys(const Json& object, std::span<const std::string_view> known);

}  // namespace mixtral::cli
