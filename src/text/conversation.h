// SPDX-License-Identifier: Apache-2.0
// Conversations made regular before a format renders them: roles checked, system messages taken
// out, messages of one role joined. Used by chat_template.cc alone; knows no format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/chat_template.h"

namespace mixtral {

enum class Speaker : uint8_t { kUser, kAssistant };

struct Turn {
  Speaker speaker = Speaker::kUser;
  std::string content;
};

struct Conversation {
  std::string system;       // all system messages, joined; may be empty
  std::vector<Turn> turns;  // begins with a user's
};

enum class JoinAcross : uint8_t {
  kNothing,  // a system message between two messages of one role keeps them apart (mistral-common)
  kSystem,   // it doesn't, so turns always alternate
};

/// Throws Error{kInvalidArgument} as ChatTemplate::Render describes.
void CheckMessages(std::span<const Message> messages, const RenderOptions& options);

/// Messages that follow each other with one role, and all system messages, are joined by an empty
/// line, leaving out empty ones; an empty user's turn goes in front of an assistant's. messages
/// were checked.
Conversation MakeConversation(std::span<const Message> messages, JoinAcross join);

}  // namespace mixtral
