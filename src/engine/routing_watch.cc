// SPDX-License-Identifier: Apache-2.0
// Called once for each layer of a step; adds up and copies, nothing else.
#include "engine/routing_watch.h"

namespace mixtral {

RoutingWatch::RoutingWatch(const ModelConfig& config, int max_sequences)
    : n_layers_(config.n_layers), n_experts_(config.n_experts) {
  const auto n_layers = static_cast<size_t>(n_layers_);
  sequences_.resize(static_cast<size_t>(max_sequences));
  for (Sequence& sequence : sequences_) sequence.last.assign(n_layers * 2, -1);
  if (n_experts_ == 0) return;
  counters_.expert_tokens.assign(n_layers * static_cast<size_t>(n_experts_), 0);
  counters_.first_repeats.assign(n_layers, 0);
  counters_.either_repeats.assign(n_layers, 0);
}

void RoutingWatch::Capture(SeqId seq, std::span<TokenRouting> rows, int k) {
  Sequence& sequence = sequences_[static_cast<size_t>(seq)];
  sequence.rows = rows;
  sequence.k = k;
  const size_t n = static_cast<size_t>(n_layers_) * static_cast<size_t>(k);
  for (TokenRouting& row : rows) {
    row.expert_ids.assign(n, 0);
    row.weights.assign(n, 0);
  }
}

void RoutingWatch::Forget(SeqId seq) {
  Sequence& sequence = sequences_[static_cast<size_t>(seq)];
  sequence.next_position = -1;
  sequence.rows = {};
}

void RoutingWatch::OnRouting(int layer, const Batch& batch, const Routing& routing,
                             Matrix<const float> /*router_logits*/) {
  for (const SeqRange& range : batch.ranges) {
    Count(layer, range, routing);
    Record(layer, range, routing);
    if (layer == n_layers_ - 1)
      sequences_[static_cast<size_t>(range.seq)].next_position = range.start + range.n_rows;
  }
}

void RoutingWatch::Count(int layer, const SeqRange& range, const Routing& routing) {
  Sequence& sequence = sequences_[static_cast<size_t>(range.seq)];
  const auto at = static_cast<size_t>(layer);
  int64_t* tokens = counters_.expert_tokens.data() + at * static_cast<size_t>(n_experts_);
  int32_t* last = sequence.last.data() + at * 2;
  bool has_last = sequence.next_position == range.start;
  for (int row = range.first_row; row < range.first_row + range.n_rows; ++row) {
    const int32_t* ids = routing.expert_ids.Row(row);
    for (int64_t k = 0; k < routing.expert_ids.cols && ids[k] >= 0; ++k) ++tokens[ids[k]];
    const int32_t first = ids[0], second = routing.expert_ids.cols > 1 ? ids[1] : -1;
    if (has_last) {
      if (layer == 0) ++counters_.routed_pairs;
      const bool same_first = first == last[0];
      const bool either = same_first || first == last[1] ||
                          (second >= 0 && (second == last[0] || second == last[1]));
      counters_.first_repeats[at] += same_first ? 1 : 0;
      counters_.either_repeats[at] += either ? 1 : 0;
    }
    last[0] = first;
    last[1] = second;
    has_last = true;
  }
}

void RoutingWatch::Record(int layer, const SeqRange& range, const Routing& routing) {
  const Sequence& sequence = sequences_[static_cast<size_t>(range.seq)];
  const auto n = static_cast<int>(sequence.rows.size());
  const int first_row = range.first_row + range.n_rows - n;
  const size_t at = static_cast<size_t>(layer) * static_cast<size_t>(sequence.k);
  for (int i = 0; i < n; ++i) {
    TokenRouting& row = sequence.rows[static_cast<size_t>(i)];
    row.position = range.start + range.n_rows - n + i;
    const int32_t* ids = routing.expert_ids.Row(first_row + i);
    const float* weights = routing.weights.Row(first_row + i);
    for (int k = 0; k < sequence.k; ++k) {
      row.expert_ids[at + static_cast<size_t>(k)] = static_cast<uint8_t>(ids[k]);
      row.weights[at + static_cast<size_t>(k)] = weights[k];
    }
  }
}

}  // namespace mixtral
