// SPDX-License-Identifier: Apache-2.0
// A request that was cancelled in its prompt has no rows, and nothing is told of it.
#include "server/routing_tap.h"

namespace mixtral::server {

void RoutingTap::Take(const ServiceEvent& event) {
  if (!event.prompt_routing.empty()) {
    std::vector<TokenRouting>& rows = choices_[0].rows;
    rows.insert(rows.end(), event.prompt_routing.begin(), event.prompt_routing.end());
  }
  for (const ServiceDelta& delta : event.deltas) {
    ServedRouting& choice = choices_[delta.choice];
    for (const ScoredToken& token : delta.tokens) choice.tokens.push_back(token.token.id);
    choice.rows.insert(choice.rows.end(), delta.routing.begin(), delta.routing.end());
  }
  if (!event.done) return;
  for (auto& [index, choice] : choices_) {
    choice.tokens.insert(choice.tokens.begin(), prompt_.begin(), prompt_.end());
    if (!choice.rows.empty()) (*sink_)(choice);
  }
}

}  // namespace mixtral::server
