// SPDX-License-Identifier: Apache-2.0
// The rules are those that mistral-common's request normaliser applies, without tools and images.
#include "text/conversation.h"

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

void AppendParagraph(std::string_view text, std::string* out) {
  if (text.empty()) return;
  if (!out->empty()) *out += "\n\n";
  *out += text;
}

}  // namespace

void CheckMessages(std::span<const Message> messages, const RenderOptions& options) {
  if (messages.empty()) {
    Throw(ErrorCode::kInvalidArgument, "messages: expected at least one, found none");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      Throw(ErrorCode::kInvalidArgument,
            "messages[{}].role: expected system, user or assistant, found '{}'", i,
            Printable(message.role));
    }
    if (message.role == "assistant" && message.content.empty()) {
      Throw(ErrorCode::kInvalidArgument,
            "messages[{}].content: expected text, found an empty "
            "assistant message",
            i);
    }
  }
  if (options.continue_final_message && messages.back().role != "assistant") {
    Throw(ErrorCode::kInvalidArgument,
          "messages[{}].role: expected assistant, whose message is to be continued, found {}",
          messages.size() - 1, messages.back().role);
  }
}

Conversation MakeConversation(std::span<const Message> messages, JoinAcross join) {
  Conversation conversation;
  bool apart = false;  // a system message ended the run of one role
  for (const Message& message : messages) {
    if (message.role == "system") {
      AppendParagraph(message.content, &conversation.system);
      apart = join == JoinAcross::kNothing;
      continue;
    }
    const Speaker speaker = message.role == "user" ? Speaker::kUser : Speaker::kAssistant;
    std::vector<Turn>& turns = conversation.turns;
    if (turns.empty() && speaker != Speaker::kUser) turns.push_back({Speaker::kUser, ""});
    if (turns.empty() || turns.back().speaker != speaker || apart) turns.push_back({speaker, ""});
    AppendParagraph(message.content, &turns.back().content);
    apart = false;
  }
  if (conversation.turns.empty()) conversation.turns.push_back({Speaker::kUser, ""});
  return conversation;
}

}  // namespace mixtral
