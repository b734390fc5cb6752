// SPDX-License-Identifier: Apache-2.0
// Everything in double and in order of ids, so that the same rows give the same numbers.
#include "eval/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/token_scores.h"

namespace mixtral::eval {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Sane(float logit) { return std::isnan(logit) ? -kInfinity : static_cast<double>(logit); }

/// log of the sum of exp(logit).
double LogSum(std::span<const float> logits) {
  double best = -kInfinity, sum = 0;
  for (const float logit : logits) best = std::max(best, Sane(logit));
  for (const float logit : logits) sum += std::exp(Sane(logit) - best);
  return best + std::log(sum);
}

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json ShareOf(int64_t part, int64_t whole) {
  return whole == 0 ? Json() : Json(static_cast<double>(part) / static_cast<double>(whole));
}

/// The smallest value with at least this share of all at or below it; sorted is not empty.
double Percentile(const std::vector<float>& sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return static_cast<double>(sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1]);
}

float WeightOf(const RouterChoice& choice, int32_t expert) {
  for (size_t i = 0; i < choice.expert_ids.size(); ++i)
    if (choice.expert_ids[i] == expert) return choice.weights[i];
  return 0;
}

/// Half the sum of |difference| over the experts of both.
double DriftOf(const RouterChoice& a, const RouterChoice& b) {
  double sum = 0;
  for (const int32_t expert : a.expert_ids)
    sum += std::abs(static_cast<double>(WeightOf(a, expert)) - WeightOf(b, expert));
  for (const int32_t expert : b.expert_ids)
    if (std::find(a.expert_ids.begin(), a.expert_ids.end(), expert) == a.expert_ids.end())
      sum += static_cast<double>(WeightOf(b, expert));
  return sum / 2;
}

/// Between the last expert chosen and the best one not chosen; infinite when all are chosen.
double GapOf(const RouterChoice& choice) {
  double last = kInfinity, next = -kInfinity;
  for (size_t e = 0; e < choice.logits.size(); ++e) {
    const bool is_chosen = std::find(choice.expert_ids.begin(), choice.expert_ids.end(),
                                     static_cast<int32_t>(e)) != choice.expert_ids.end();
    const double logit = Sane(choice.logits[e]);
    if (is_chosen)
      last = std::min(last, logit);
    else
      next = std::max(next, logit);
  }
  return last - next;
}

}  // namespace

double Divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_sum = LogSum(p_logits), q_sum = LogSum(q_logits);
  double divergence = 0;
  for (size_t i = 0; i < p_logits.size(); ++i) {
    const double log_p = Sane(p_logits[i]) - p_sum;
    if (std::isinf(log_p)) continue;  // p = 0 adds nothing
    divergence += std::exp(log_p) * (log_p - (Sane(q_logits[i]) - q_sum));
  }
  return std::max(divergence, 0.0);  // rounding may leave a little less
}

void PredictionComparison::Add(std::span<const float> base, std::span<const float> other,
                               TokenId next) {
  const ScoredToken a = ScoreToken(base, next, 1), b = ScoreToken(other, next, 1);
  const double log_a = static_cast<double>(a.token.logprob);
  const double log_b = static_cast<double>(b.token.logprob);
  base_.Add(log_a);
  other_.Add(log_b);
  log_ratio_.Add(log_a - log_b);
  same_top_.Add(a.top.front().id == b.top.front().id ? 1 : 0);
  const double divergence = Divergence(base, other);
  kl_mean_.Add(divergence);
  kl_.push_back(static_cast<float>(divergence));
}

Json PredictionComparison::ToJson() const {
  Json kl = Json::Object();
  kl.Set("mean", NumberOrNull(kl_mean_.Mean())).Set("mean_stderr", NumberOrNull(kl_mean_.Error()));
  if (!kl_.empty()) {
    std::vector<float> sorted = kl_;
    std::sort(sorted.begin(), sorted.end());
    kl.Set("median", NumberOrNull(Percentile(sorted, 0.5)))
        .Set("p90", NumberOrNull(Percentile(sorted, 0.9)))
        .Set("p99", NumberOrNull(Percentile(sorted, 0.99)))
        .Set("p999", NumberOrNull(Percentile(sorted, 0.999)))
        .Set("max", NumberOrNull(static_cast<double>(sorted.back())));
  }
  const double ratio = std::exp(log_ratio_.Mean());
  return Json::Object()
      .Set("tokens", n())
      .Set("kl", std::move(kl))
      .Set("same_top", same_top_.Mean())
      .Set("same_top_stderr", NumberOrNull(same_top_.Error()))
      .Set("base", PerplexityJson(base_, nullptr))
      .Set("other", PerplexityJson(other_, nullptr))
      .Set("ratio", NumberOrNull(ratio))
      .Set("ratio_stderr", NumberOrNull(ratio * log_ratio_.Error()));
}

void RoutingComparison::Add(int layer, const RouterChoice& base, const RouterChoice& other) {
  Counts& counts = layers_[static_cast<size_t>(layer)];
  const bool is_same = std::is_permutation(base.expert_ids.begin(), base.expert_ids.end(),
                                           other.expert_ids.begin(), other.expert_ids.end());
  const bool is_near = GapOf(base) < static_cast<double>(kNearTie);
  ++counts.n;
  counts.n_same_set += is_same ? 1 : 0;
  counts.n_same_first += base.expert_ids.front() == other.expert_ids.front() ? 1 : 0;
  counts.n_near += is_near ? 1 : 0;
  counts.n_changed_near += is_near && !is_same ? 1 : 0;
  counts.drift += DriftOf(base, other);
}

Json RoutingComparison::RowOf(const Counts& counts) {
  return Json::Object()
      .Set("same_set", ShareOf(counts.n_same_set, counts.n))
      .Set("same_first", ShareOf(counts.n_same_first, counts.n))
      .Set("weight_drift", NumberOrNull(counts.drift / static_cast<double>(counts.n)))
      .Set("near_ties", ShareOf(counts.n_near, counts.n))
      .Set("changed_at_near_ties", ShareOf(counts.n_changed_near, counts.n - counts.n_same_set));
}

Json RoutingComparison::ToJson() const {
  Counts all;
  Json rows = Json::Array();
  for (const Counts& layer : layers_) {
    all.n += layer.n;
    all.n_same_set += layer.n_same_set;
    all.n_same_first += layer.n_same_first;
    all.n_near += layer.n_near;
    all.n_changed_near += layer.n_changed_near;
    all.drift += layer.drift;
    rows.Push(RowOf(layer));
  }
  return Json::Object().Set("all", RowOf(all)).Set("layers", std::move(rows));
}

}  // namespace mixtral::eval
