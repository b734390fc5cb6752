// SPDX-License-Identifier: Apache-2.0
// A chat request's messages and tools: from JSON to text/'s types, and made into a conversation
// that Mistral's formats can write. Roles in an unusual order are repaired, never refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"

namespace mixtral::server {

enum class ToolSupport : uint8_t { kNone, kFormat };

/// The array "messages" of body. Content is text or a list of {"type": "text"} parts. Throws
/// HttpError naming the field for an unknown role or a part that is no text.
std::vector<Message> ParseMessages(const Json& body);
std::vector<Tool> ParseTools(const Json& body);

/// What Mistral's formats can write, with the same words: "developer" becomes "system", system
/// messages go to the front (the formats fold them into a user's turn), calls without a result and
/// results without a call become text or are left out, ids become nine letters and digits (equal
/// ones stay equal). kNone: calls and results become text of assistant's and user's messages.
std::vector<Message> RepairConversation(std::vector<Message> messages, ToolSupport support);

/// id itself if it is nine letters and digits, else nine that are made from it.
std::string NineCharacterId(std::string_view id);

}  // namespace mixtral::server
