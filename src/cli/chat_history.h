// SPDX-License-Identifier: Apache-2.0
// What was said in a chat, and how much of it is sent: the policy at the end of the context. Knows
// no session; used by `chat` alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"

namespace mixtral::cli {

/// When a conversation outgrows the context.
enum class ContextPolicy : uint8_t {
  kDropOldest,  // the oldest turns are not sent any more
  kStop         // the message is not answered
};

enum class Fit : uint8_t {
  kFits,
  kDropped,  // fits now that oldest turns were left out
  kTooLong   // nothing was changed
};

class ChatHistory {
 public:
  explicit ChatHistory(const ChatTemplate* chat_template) : template_(chat_template) {}

  std::string system;  // the system prompt; always sent

  const std::vector<Message>& turns() const { return turns_; }
  size_t n_left_out() const { return first_sent_; }
  void Add(const std::string& role, const std::string& text) { turns_.push_back({role, text}); }
  void Clear();
  void RemoveLast();
  /// Takes the last user's message back, and the answer to it. false: there is none.
  bool Undo();

  /// The ids of what is sent. Throws what ChatTemplate::Render throws.
  std::vector<TokenId> Prompt() const;
  /// Sees to it that the prompt leaves `room` of `context` positions for the answer. Under
  /// kDropOldest as many turns are left out as it takes to get down to half of the context, so that
  /// what is kept can stay in the cache for some time; the last message is always sent. *n_prompt:
  /// tokens of the prompt that fits, or of the shortest one that does not.
  Fit MakeRoom(ContextPolicy policy, int64_t context, int64_t room, int64_t* n_prompt);

  /// {"messages": [...]}: all of it, the system prompt first.
  Json ToJson() const;
  /// Replaces everything. Throws Error{kCorrupt, kInvalidArgument} and changes nothing for a
  /// conversation that a chat cannot hold or the format cannot write.
  void Load(const Json& json);

 private:
  std::vector<Message> Sent() const;

  const ChatTemplate* template_;
  std::vector<Message> turns_;
  size_t first_sent_ = 0;  // turns before it are left out
};

}  // namespace mixtral::cli
