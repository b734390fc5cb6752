// SPDX-License-Identifier: Apache-2.0
// Shares of nothing are 0: a server that has computed no token yet has figures, too.
#include "server/routing_figures.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mixtral::server {
namespace {

double Ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double EntropyBits(std::span<const int64_t> counts, int64_t total) {
  double entropy = 0;
  for (const int64_t count : counts) {
    if (count == 0) continue;
    const double share = Ratio(count, total);
    entropy -= share * std::log2(share);
  }
  return entropy;
}

}  // namespace

LayerRouting RoutingOf(const ServiceStats& stats, size_t layer, size_t n_experts) {
  LayerRouting figures;
  figures.tokens = std::span(stats.expert_tokens).subspan(layer * n_experts, n_experts);
  const int64_t total = std::accumulate(figures.tokens.begin(), figures.tokens.end(), int64_t{0});
  figures.entropy_bits = EntropyBits(figures.tokens, total);
  figures.max_share = Ratio(*std::max_element(figures.tokens.begin(), figures.tokens.end()), total);
  if (layer < stats.first_repeats.size())
    figures.first_choice_repetition = Ratio(stats.first_repeats[layer], stats.routed_pairs);
  if (layer < stats.either_repeats.size())
    figures.either_choice_repetition = Ratio(stats.either_repeats[layer], stats.routed_pairs);
  return figures;
}

size_t RoutedLayers(const ServiceStats& stats, int n_experts) {
  return n_experts == 0 ? 0 : stats.expert_tokens.size() / static_cast<size_t>(n_experts);
}

}  // namespace mixtral::server
