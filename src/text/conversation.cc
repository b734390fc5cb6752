// SPDX-License-Identifier: Apache-2.0
// The rules are those of mistral-common's request normaliser and validator, without images.
#include "text/conversation.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

constexpr size_t kCallIdLength = 9, kMaxNameLength = 64;

void AppendParagraph(std::string_view text, std::string* out) {
  if (text.empty()) return;
  if (!out->empty()) *out += "\n\n";
  *out += text;
}

bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void CheckName(std::string_view name, const std::string& where) {
  const bool is_sound = std::all_of(
      name.begin(), name.end(), [](char c) { return IsLetterOrDigit(c) || c == '_' || c == '-'; });
  if (is_sound && !name.empty() && name.size() <= kMaxNameLength) return;
  Throw(ErrorCode::kInvalidArgument, "{}: expected 1 to {} of [a-zA-Z0-9_-], found '{}'", where,
        kMaxNameLength, Printable(name));
}

void CheckCallId(std::string_view id, const std::string& where) {
  if (id.size() == kCallIdLength && std::all_of(id.begin(), id.end(), IsLetterOrDigit)) return;
  Throw(ErrorCode::kInvalidArgument, "{}: expected {} of [a-zA-Z0-9], found '{}'", where,
        kCallIdLength, Printable(id));
}

std::string Place(size_t index, std::string_view key) {
  return fmt::format("messages[{}].{}", index, key);
}

void CheckRole(const Message& message, size_t index, ToolRules rules) {
  const bool with_tools = rules != ToolRules::kNoTools;
  const std::string& role = message.role;
  if (role == "system" || role == "user" || role == "assistant") return;
  if (role == "tool" && with_tools) return;
  Throw(ErrorCode::kInvalidArgument, "{}: expected {}, found '{}'", Place(index, "role"),
        with_tools ? "system, user, assistant or tool" : "system, user or assistant",
        Printable(role));
}

void CheckContent(const Message& message, size_t index, ToolRules rules) {
  const bool has_calls = !message.tool_calls.empty();
  if (has_calls && (rules == ToolRules::kNoTools || message.role != "assistant")) {
    Throw(ErrorCode::kInvalidArgument, "{}: expected none {}, found {}", Place(index, "tool_calls"),
          message.role != "assistant" ? "in a message that isn't an assistant's" : "in this format",
          message.tool_calls.size());
  }
  if (has_calls && !message.content.empty()) {
    Throw(ErrorCode::kInvalidArgument, "{}: expected none beside tool calls, found {} bytes",
          Place(index, "content"), message.content.size());
  }
  if (message.role == "assistant" && !has_calls && message.content.empty()) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: expected text{}, found an empty assistant "
          "message",
          Place(index, "content"), rules == ToolRules::kNoTools ? "" : " or tool calls");
  }
}

void CheckTools(const Message& message, size_t index, ToolRules rules) {
  for (size_t call = 0; call < message.tool_calls.size(); ++call) {
    const std::string where = Place(index, fmt::format("tool_calls[{}]", call));
    CheckName(message.tool_calls[call].name, where + ".name");
    if (rules == ToolRules::kMistralV3) CheckCallId(message.tool_calls[call].id, where + ".id");
  }
  if (message.role != "tool") return;
  if (!message.name.empty()) CheckName(message.name, Place(index, "name"));
  if (rules == ToolRules::kMistralV3) {
    CheckCallId(message.tool_call_id, Place(index, "tool_call_id"));
  }
}

/// A tool's message answers a call before it; the assistant goes on when all calls are answered.
void CheckOrder(std::span<const Message> messages) {
  size_t n_open = 0;  // calls without an answer
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    const bool after_tool = i > 0 && messages[i - 1].role == "tool";
    if (message.role == "tool") {
      if (n_open == 0) {
        Throw(ErrorCode::kInvalidArgument,
              "{}: expected a tool's message to answer a tool call before it, found none open",
              Place(i, "role"));
      }
      --n_open;
    } else if (message.role == "assistant") {
      const bool joins = i > 0 && messages[i - 1].role == "assistant";
      if (joins && (messages[i - 1].tool_calls.empty() != message.tool_calls.empty())) {
        Throw(ErrorCode::kInvalidArgument,
              "{}: expected text or tool calls in a row of assistant messages, found both",
              Place(i, "tool_calls"));
      }
      if (!joins && n_open > 0) {
        Throw(ErrorCode::kInvalidArgument,
              "{}: expected an answer to every tool call, found {} without", Place(i, "role"),
              n_open);
      }
      n_open += message.tool_calls.size();
    } else if (after_tool) {
      Throw(ErrorCode::kInvalidArgument, "{}: expected assistant or tool after tool, found {}",
            Place(i, "role"), message.role);
    }
  }
}

}  // namespace

void CheckMessages(std::span<const Message> messages, const RenderOptions& options, ToolRules rules,
                   ChatFormat format) {
  if (messages.empty()) {
    Throw(ErrorCode::kInvalidArgument, "messages: expected at least one, found none");
  }
  if (rules == ToolRules::kNoTools && !options.tools.empty()) {
    Throw(ErrorCode::kInvalidArgument, "chat format {}: expected no tools, found {}",
          ChatFormatName(format), options.tools.size());
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    CheckRole(messages[i], i, rules);
    CheckContent(messages[i], i, rules);
    CheckTools(messages[i], i, rules);
  }
  for (size_t i = 0; i < options.tools.size(); ++i) {
    CheckName(options.tools[i].name, fmt::format("tools[{}].name", i));
  }
  CheckOrder(messages);
  if (options.continue_final_message && messages.back().role != "assistant") {
    Throw(ErrorCode::kInvalidArgument,
          "messages[{}].role: expected assistant, whose message is to be continued, found {}",
          messages.size() - 1, messages.back().role);
  }
}

Conversation MakeConversation(std::span<const Message> messages, JoinAcross join) {
  Conversation conversation;
  std::vector<Turn>& turns = conversation.turns;
  std::array<int, 3> counts{};
  const auto add = [&](Speaker speaker) {
    constexpr std::string_view kNames[] = {"user turn", "assistant turn", "tool result"};
    const auto which = static_cast<size_t>(speaker);
    turns.push_back({.speaker = speaker, .content = ""});
    turns.back().label = fmt::format("{} {}", kNames[which], ++counts[which]);
  };
  bool apart = false;  // a system message ended the run of one role
  for (const Message& message : messages) {
    if (message.role == "system") {
      AppendParagraph(message.content, &conversation.system);
      apart = join == JoinAcross::kNothing;
      continue;
    }
    const Speaker speaker = message.role == "user"   ? Speaker::kUser
                            : message.role == "tool" ? Speaker::kTool
                                                     : Speaker::kAssistant;
    if (turns.empty() && speaker != Speaker::kUser) add(Speaker::kUser);
    if (turns.empty() || turns.back().speaker != speaker || apart || speaker == Speaker::kTool) {
      add(speaker);
    }
    Turn& turn = turns.back();
    AppendParagraph(message.content, &turn.content);
    turn.tool_calls.insert(turn.tool_calls.end(), message.tool_calls.begin(),
                           message.tool_calls.end());
    if (speaker == Speaker::kTool) {
      turn.tool_call_id = message.tool_call_id;
      turn.tool_name = message.name;
    }
    apart = false;
  }
  if (turns.empty()) add(Speaker::kUser);
  return conversation;
}

}  // namespace mixtral
