// SPDX-License-Identifier: Apache-2.0
// Text goes through the tool parser only where the request has tools.
#include "server/chat_turn.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/answer_parts.h"

namespace mixtral::server {

ChatTurn::ChatTurn(ToolCalls tools, const ForcedCall& forced, std::optional<TokenId> tool_token,
                   bool one_call)
    : parses_(tools == ToolCalls::kParsed), one_call_(one_call), tool_token_(tool_token) {
  if (!forced.is_forced) return;
  parser_.OnToolToken();
  Add(parser_.Push(forced.text), &forced_news_);
}

void ChatTurn::Add(ToolOutput output, TurnNews* news) {
  content_ += output.content;
  news->content += output.content;
  for (CallPart& part : output.calls) {
    if (one_call_ && part.index > 0) continue;
    if (static_cast<size_t>(part.index) == calls_.size())
      calls_.push_back(part);
    else
      calls_[static_cast<size_t>(part.index)].arguments += part.arguments;
    news->calls.push_back(std::move(part));
  }
}

TurnNews ChatTurn::Take(const ServiceDelta& delta) {
  TurnNews news = std::exchange(forced_news_, {});
  const auto scored = WithoutEos(delta);
  tokens.insert(tokens.end(), scored.begin(), scored.end());
  routing.insert(routing.end(), delta.routing.begin(), delta.routing.end());
  if (delta.finish) {
    finish = delta.finish;
    stop_string = delta.stop_string;
  }
  if (!parses_) {
    content_ += delta.text;
    news.content += delta.text;
    return news;
  }
  const bool has_mark =
      tool_token_ && std::any_of(delta.tokens.begin(), delta.tokens.end(),
                                 [&](const ScoredToken& t) { return t.token.id == *tool_token_; });
  if (has_mark) parser_.OnToolToken();
  Add(parser_.Push(delta.text), &news);
  if (delta.finish) Add(parser_.Finish(), &news);
  return news;
}

}  // namespace mixtral::server
