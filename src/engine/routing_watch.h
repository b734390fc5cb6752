// SPDX-License-Identifier: Apache-2.0
// What the routers chose: counters of all tokens since the start, and the experts of each token of
// the requests that asked for them. The service's ForwardObserver.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/observer.h"
#include "spec/config.h"

namespace mixtral {

/// The experts of one token: expert_ids and weights [L, K], heaviest first.
struct TokenRouting {
  int64_t position = 0;
  std::vector<uint8_t> expert_ids;
  std::vector<float> weights;
};

struct RoutingCounters {
  std::vector<int64_t> expert_tokens;   // [L, E] assignments
  std::vector<int64_t> first_repeats;   // [L] tokens with the first choice of the token before
  std::vector<int64_t> either_repeats;  // [L] with one of the two first choices in common
  int64_t routed_pairs = 0;             // consecutive tokens behind the two
};

class RoutingWatch final : public ForwardObserver {
 public:
  RoutingWatch(const ModelConfig& config, int max_sequences);

  /// The last rows.size() rows of seq in the steps from now on are recorded, k experts each, until
  /// the next call for seq; empty: none. rows and their contents are sized here.
  void Capture(SeqId seq, std::span<TokenRouting> rows, int k);
  /// Another sequence has this id now.
  void Forget(SeqId seq);
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  const RoutingCounters& counters() const { return counters_; }

 private:
  struct Sequence {
    int64_t next_position = -1;  // after the last token that was routed
    std::span<TokenRouting> rows;
    int k = 0;
    std::vector<int32_t> last;  // [L, 2] first two choices of that token; -1 = none
  };
  void Count(int layer, const SeqRange& range, const Routing& routing);
  void Record(int layer, const SeqRange& range, const Routing& routing);

  int n_layers_, n_experts_;
  RoutingCounters counters_;
  std::vector<Sequence> sequences_;  // [max_sequences]
};

}  // namespace mixtral
