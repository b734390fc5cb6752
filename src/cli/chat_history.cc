// SPDX-License-Identifier: Apache-2.0
// Turns are left out of what is sent, never of what is kept and saved.
#include "cli/chat_history.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "cli/conversation_json.h"

namespace mixtral::cli {

void ChatHistory::Clear() {
  turns_.clear();
  first_sent_ = 0;
}

void ChatHistory::RemoveLast() {
  turns_.pop_back();
  if (first_sent_ >= turns_.size()) first_sent_ = 0;
}

bool ChatHistory::Undo() {
  size_t at = turns_.size();
  while (at > 0 && turns_[at - 1].role != "user") --at;
  if (at == 0) return false;
  while (turns_.size() >= at) RemoveLast();
  return true;
}

std::vector<Message> ChatHistory::Sent() const {
  std::vector<Message> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.insert(messages.end(), turns_.begin() + static_cast<ptrdiff_t>(first_sent_),
                  turns_.end());
  return messages;
}

std::vector<TokenId> ChatHistory::Prompt() const { return template_->Render(Sent()); }

Fit ChatHistory::MakeRoom(ContextPolicy policy, int64_t context, int64_t room, int64_t* n_prompt) {
  *n_prompt = std::ssize(Prompt());
  if (*n_prompt + room <= context) return Fit::kFits;
  const size_t before = first_sent_;
  if (policy == ContextPolicy::kDropOldest) {
    while (*n_prompt > context / 2) {
      size_t next = first_sent_ + 1;
      while (next < turns_.size() && turns_[next].role != "user") ++next;
      if (next >= turns_.size()) break;  // the last message is all that is left
      first_sent_ = next;
      *n_prompt = std::ssize(Prompt());
    }
  }
  if (*n_prompt < context) return first_sent_ == before ? Fit::kFits : Fit::kDropped;
  first_sent_ = before;
  return Fit::kTooLong;
}

Json ChatHistory::ToJson() const {
  std::vector<Message> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.insert(messages.end(), turns_.begin(), turns_.end());
  return ConversationToJson(messages);
}

void ChatHistory::Load(const Json& json) {
  ConversationInput input = ReadConversation(json);
  if (!input.tools.empty() || input.continue_final_message)
    Throw(ErrorCode::kCorrupt, "{}: expected messages alone, found tools or continue_final_message",
          json.path());
  ChatHistory loaded(template_);
  for (size_t i = 0; i < input.messages.size(); ++i) {
    Message& message = input.messages[i];
    if (i == 0 && message.role == "system") {
      loaded.system = std::move(message.content);
    } else if ((message.role == "user" || message.role == "assistant") &&
               message.tool_calls.empty()) {
      loaded.Add(message.role, message.content);
    } else {
      Throw(ErrorCode::kCorrupt,
            "message {}: expected one of user or assistant, or of system if it is the first, and "
            "no tool calls, found '{}'",
            i, Printable(message.role, 40));
    }
  }
  if (!loaded.turns_.empty()) loaded.Prompt();  // throws where the format does
  *this = std::move(loaded);
}

}  // namespace mixtral::cli
