// SPDX-License-Identifier: Apache-2.0
// What /v1/routing/stats and the metrics say about a layer's router, from the service's counters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/service.h"

namespace mixtral::server {

struct LayerRouting {
  std::span<const int64_t> tokens;  // [E]
  double entropy_bits = 0;          // of the experts' shares; at most log2 of their number
  double max_share = 0;             // of the most loaded expert, 0 to 1
  // Of consecutive tokens, 0 to 1: the same first choice; a first or second choice in common.
  double first_choice_repetition = 0, either_choice_repetition = 0;
};

/// Of a layer in [0, layers of stats.expert_tokens); the spans live as long as stats.
LayerRouting RoutingOf(const ServiceStats& stats, size_t layer, size_t n_experts);
/// 0 for a dense model.
size_t RoutedLayers(const ServiceStats& stats, int n_experts);

}  // namespace mixtral::server
