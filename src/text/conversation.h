// SPDX-License-Identifier: Apache-2.0
// Conversations checked and made regular before a format renders them: roles, tool calls and their
// results, system messages taken out, messages of one role joined. Knows no format but what each
// may do with tools.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/chat_template.h"

namespace mixtral {

enum class Speaker : uint8_t { kUser, kAssistant, kTool };

struct Turn {
  Speaker speaker = Speaker::kUser;
  std::string content;
  std::vector<ToolCall> tool_calls = {};
  std::string tool_call_id = {}, tool_name = {};
  std::string label = {};  // "user turn 1", counted for each speaker
};

struct Conversation {
  std::string system;       // all system messages, joined; may be empty
  std::vector<Turn> turns;  // begins with a user's
};

enum class JoinAcross : uint8_t {
  kNothing,  // a system message between two messages of one role keeps them apart (mistral-common)
  kSystem,   // it doesn't, so turns always alternate
};

enum class ToolRules : uint8_t {
  kNoTools,   // the format has no place for them
  kMistral,   // calls and results as Mistral's request validator wants them
  kMistralV3  // and ids of nine letters and digits
};

/// Throws Error{kInvalidArgument} as ChatTemplate::Render describes. format is for the message.
void CheckMessages(std::span<const Message> messages, const RenderOptions& options, ToolRules rules,
                   ChatFormat format);

/// Messages that follow each other with one role, and all system messages, are joined by an empty
/// line, leaving out empty ones; an empty user's turn goes in front of an assistant's. A tool's
/// messages stay apart. messages were checked.
Conversation MakeConversation(std::span<const Message> messages, JoinAcross join);

}  // namespace mixtral
