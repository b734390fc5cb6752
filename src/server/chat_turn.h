// SPDX-License-Identifier: Apache-2.0
// What one choice of a chat has come to: text, tool calls, scored tokens. The chat and messages
// answers feed it and write what it gives.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/chat_request.h"
#include "server/tool_parser.h"

namespace mixtral::server {

enum class ToolCalls : uint8_t { kIgnored, kParsed };

struct TurnNews {
  std::string content;
  std::vector<CallPart> calls;
};

class ChatTurn {
 public:
  ChatTurn(ToolCalls tools, const ForcedCall& forced, std::optional<TokenId> tool_token,
           bool one_call);
  /// Takes a delta's text and tokens; what is new of them comes back.
  TurnNews Take(const ServiceDelta& delta);

  const std::string& content() const { return content_; }
  const std::vector<CallPart>& calls() const { return calls_; }  // whole
  bool has_calls() const { return !calls_.empty(); }

  std::vector<ScoredToken> tokens;
  std::vector<TokenRouting> routing;
  std::optional<FinishReason> finish;
  std::string stop_string;

 private:
  void Add(ToolOutput output, TurnNews* news);

  bool parses_, one_call_;
  std::optional<TokenId> tool_token_;
  ToolParser parser_;
  std::string content_;
  std::vector<CallPart> calls_;
  TurnNews forced_news_;
};

}  // namespace mixtral::server
