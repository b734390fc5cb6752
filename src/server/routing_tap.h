// SPDX-License-Identifier: Apache-2.0
// Collects the routing of one request while its events pass by, and hands it over when the request
// ends. Used where requests are submitted, when somebody records (`serve --routing`).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "engine/service.h"

namespace mixtral::server {

/// Rows of consecutive positions of one text; the last token of a choice has none, as nothing came
/// after it.
struct ServedRouting {
  std::vector<TokenId> tokens;     // the whole text, from position 0
  std::vector<TokenRouting> rows;  // the prompt's rows are with the first choice
};

using RoutingSink = std::function<void(const ServedRouting& routing)>;

class RoutingTap {
 public:
  RoutingTap(std::vector<TokenId> prompt, const RoutingSink* sink)
      : prompt_(std::move(prompt)), sink_(sink) {}
  /// In order, each event of the request; at the last one the sink is called for every choice.
  void Take(const ServiceEvent& event);

 private:
  std::vector<TokenId> prompt_;
  const RoutingSink* sink_;
  std::map<int, ServedRouting> choices_;
};

}  // namespace mixtral::server
