// SPDX-License-Identifier: Apache-2.0
// How far two models' predictions and routing are apart, one position after the other: nothing
// larger than one row of logits is kept. Pure; comparison_run.h computes the rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/json.h"
#include "base/token_id.h"
#include "eval/perplexity.h"

namespace mixtral::eval {

/// Kullback-Leibler divergence of two distributions given as logits [V], in nats: sum of p (log p -
/// log q). Infinite where q excludes what p allows. NaN logits count as -infinity.
double Divergence(std::span<const float> p_logits, std::span<const float> q_logits);

class PredictionComparison {
 public:
  /// logits [V] of both at a position, and the token that follows.
  void Add(std::span<const float> base, std::span<const float> other, TokenId next);
  int64_t n() const { return base_.n(); }
  /// {"kl": {"mean", "mean_stderr", "median", "p90", "p99", "p999", "max"}, "same_top",
  /// "same_top_stderr", "base", "other": perplexities, "ratio", "ratio_stderr"}
  Json ToJson() const;

 private:
  PerplexitySum base_, other_;
  RunningMean log_ratio_, kl_mean_, same_top_;
  std::vector<float> kl_;
};

/// What a router said about one token.
struct RouterChoice {
  std::span<const float> logits;        // [E]
  std::span<const int32_t> expert_ids;  // [k] heaviest first
  std::span<const float> weights;       // [k]
};

/// Agreement of routers that have the same layers, experts and k.
class RoutingComparison {
 public:
  explicit RoutingComparison(int n_layers) : layers_(static_cast<size_t>(n_layers)) {}
  /// Below this gap between the logits of the last expert chosen and the best one not chosen, the
  /// choice of the base is a near tie.
  static constexpr float kNearTie = 0.05f;

  void Add(int layer, const RouterChoice& base, const RouterChoice& other);
  /// {"all": row, "layers": [row]}; a row is {"same_set", "same_first", "weight_drift",
  /// "near_ties", "changed_at_near_ties"}: shares of tokens, and of the changed sets those that
  /// were near ties (null when none changed). weight_drift: half the sum of |difference| over the
  /// experts' weights, the share of the mixture that moved.
  Json ToJson() const;

 private:
  struct Counts {
    int64_t n = 0, n_same_set = 0, n_same_first = 0, n_near = 0, n_changed_near = 0;
    double drift = 0;
  };
  static Json RowOf(const Counts& counts);
  std::vector<Counts> layers_;
};

}  // namespace mixtral::eval
