// SPDX-License-Identifier: Apache-2.0
// The choice of experts, one token at a time and in scalar code, so that it depends on nothing but
// that token's logits and policy. Called by backend/cpu's MoeFfn; does not compute logits.
#include "moe/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace mixtral {
namespace {

enum Mark : uint8_t { kFree, kChosen, kBanned };

/// Logits of broken weights: NaN counts as the smallest value, infinity as the largest finite one,
/// so that the choice stays total and the softmax finite.
float Sane(float logit) {
  if (std::isnan(logit)) return -std::numeric_limits<float>::infinity();
  return std::min(logit, std::numeric_limits<float>::max());
}

void CheckExpertIds(const char* field, const std::vector<int>& ids, int n_experts) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= n_experts)
      Throw(ErrorCode::kInvalidArgument,
            "routing policy: {}[{}]: expected an expert in 0..{}, found {}", field, i,
            n_experts - 1, ids[i]);
    if (std::find(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(i), ids[i]) !=
        ids.begin() + static_cast<std::ptrdiff_t>(i))
      Throw(ErrorCode::kInvalidArgument,
            "routing policy: {}[{}]: expected every expert once, found {} again", field, i, ids[i]);
  }
}

/// Free expert with the largest key; equal keys: the lower id. n_experts - banned >= k, so there is
/// one.
int BestFree(std::span<const float> keys, std::span<const uint8_t> marks) {
  int best = -1;
  for (size_t e = 0; e < keys.size(); ++e) {
    if (marks[e] != kFree) continue;
    if (best < 0 || keys[e] > keys[static_cast<size_t>(best)]) best = static_cast<int>(e);
  }
  return best;
}

/// Sorts ids by (logit descending, id ascending): insertion sort, k is small and nothing may
/// allocate.
void SortHeaviestFirst(const float* logits, std::span<int32_t> ids) {
  const auto before = [&](int32_t a, int32_t b) {
    const float la = Sane(logits[a]), lb = Sane(logits[b]);
    return la > lb || (la == lb && a < b);
  };
  for (size_t i = 1; i < ids.size(); ++i) {
    const int32_t id = ids[i];
    size_t j = i;
    for (; j > 0 && before(id, ids[j - 1]); --j) ids[j] = ids[j - 1];
    ids[j] = id;
  }
}

/// weights[i] = softmax over the logits of ids, which are sorted (PAPER 1.2: only the kept logits).
void SoftmaxOfChosen(const float* logits, std::span<const int32_t> ids, float* weights) {
  const float maximum = Sane(logits[ids[0]]);
  float sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    // All chosen logits -infinity (or NaN): nothing tells them apart, so they weigh the same.
    weights[i] = std::isinf(maximum) ? 1.0f : std::exp(Sane(logits[ids[i]]) - maximum);
    sum += weights[i];
  }
  for (size_t i = 0; i < ids.size(); ++i) weights[i] /= sum;
}

}  // namespace

void RoutingPolicy::Validate(int n_experts, int model_k, int max_k) const {
  const bool is_default = k == 0 && force.empty() && ban.empty() && bias.empty();
  if (is_default) return;
  if (n_experts == 0)
    Throw(ErrorCode::kInvalidArgument,
          "routing policy: expected none for a model without experts, found one");
  if (k < 0 || k > std::min(n_experts, max_k))
    Throw(ErrorCode::kInvalidArgument,
          "routing policy: k: expected 1..{} experts per token (0 = the model's), found {}",
          std::min(n_experts, max_k), k);
  CheckExpertIds("force", force, n_experts);
  CheckExpertIds("ban", ban, n_experts);
  const int chosen = k == 0 ? model_k : k;
  if (force.size() > static_cast<size_t>(chosen))
    Throw(ErrorCode::kInvalidArgument,
          "routing policy: force: expected at most {} experts (k), found {}", chosen, force.size());
  for (const int id : force)
    if (std::find(ban.begin(), ban.end(), id) != ban.end())
      Throw(ErrorCode::kInvalidArgument,
            "routing policy: ban: expected no forced expert, found {} in both lists", id);
  const size_t left = static_cast<size_t>(n_experts) - ban.size();
  if (left < static_cast<size_t>(chosen))
    Throw(ErrorCode::kInvalidArgument,
          "routing policy: ban: expected at least {} experts (k) left to choose from, found {}",
          chosen, left);
  if (!bias.empty() && bias.size() != static_cast<size_t>(n_experts))
    Throw(ErrorCode::kInvalidArgument,
          "routing policy: bias: expected {} values (one per expert), found {}", n_experts,
          bias.size());
  for (size_t e = 0; e < bias.size(); ++e)
    if (!std::isfinite(bias[e]))
      Throw(ErrorCode::kInvalidArgument,
            "routing policy: bias[{}]: expected a finite number, found {}", e, bias[e]);
}

RoutingBuffer::RoutingBuffer(int max_tokens, int max_k, int n_experts)
    : max_tokens_(max_tokens), max_k_(std::max(max_k, 1)), n_experts_(std::max(n_experts, 1)) {
  const size_t slots = static_cast<size_t>(max_tokens_) * static_cast<size_t>(max_k_);
  const auto experts = static_cast<size_t>(n_experts_);
  ids_.resize(slots);
  weights_.resize(slots);
  slots_.resize(slots);
  offsets_.resize(experts + 1);
  cursor_.resize(experts);
  keyed_.resize(experts);
  chosen_.resize(experts);
}

Routing RoutingBuffer::Route(Matrix<const float> logits, int model_k,
                             std::span<const RoutingPolicy* const> row_policies) {
  const int n_tokens = static_cast<int>(logits.rows);
  Check(n_tokens <= max_tokens_ && logits.cols == n_experts_, "routing: batch as sized");
  Check(row_policies.empty() || row_policies.size() == static_cast<size_t>(n_tokens),
        "routing: one policy per row");
  const auto policy_of = [&](int t) {
    return row_policies.empty() ? nullptr : row_policies[static_cast<size_t>(t)];
  };
  const auto k_of = [&](const RoutingPolicy* policy) {
    return policy != nullptr && policy->k != 0 ? policy->k : model_k;
  };
  int widest = row_policies.empty() ? model_k : 1;
  for (int t = 0; t < n_tokens; ++t) widest = std::max(widest, k_of(policy_of(t)));
  Check(widest >= 1 && widest <= max_k_ && widest <= n_experts_, "routing: k as sized");

  for (int t = 0; t < n_tokens; ++t) {
    const RoutingPolicy* policy = policy_of(t);
    const float* row = logits.Row(t);
    const size_t first = static_cast<size_t>(t) * static_cast<size_t>(widest);
    const std::span<int32_t> ids =
        std::span(ids_).subspan(first, static_cast<size_t>(k_of(policy)));
    ChooseRow(row, policy, ids);
    SortHeaviestFirst(row, ids);
    SoftmaxOfChosen(row, ids, weights_.data() + first);
    for (size_t i = ids.size(); i < static_cast<size_t>(widest); ++i) {
      ids_[first + i] = -1;
      weights_[first + i] = 0;
    }
  }
  return GroupByExpert(n_tokens, widest, n_experts_);
}

void RoutingBuffer::ChooseRow(const float* logits, const RoutingPolicy* policy,
                              std::span<int32_t> ids) {
  const bool has_bias = policy != nullptr && !policy->bias.empty();
  for (size_t e = 0; e < keyed_.size(); ++e)
    keyed_[e] = Sane(logits[e]) + (has_bias ? policy->bias[e] : 0.0f);
  std::fill(chosen_.begin(), chosen_.end(), uint8_t{kFree});
  size_t n = 0;
  if (policy != nullptr) {
    for (const int e : policy->ban) chosen_[static_cast<size_t>(e)] = kBanned;
    for (const int e : policy->force) {
      chosen_[static_cast<size_t>(e)] = kChosen;
      ids[n++] = e;
    }
  }
  for (; n < ids.size(); ++n) {
    const int best = BestFree(keyed_, chosen_);
    Check(best >= 0, "routing: a policy that Validate accepted");
    chosen_[static_cast<size_t>(best)] = kChosen;
    ids[n] = best;
  }
}

Routing RoutingBuffer::RouteDense(int n_tokens) {
  Check(n_tokens <= max_tokens_, "routing: batch as sized");
  std::fill_n(ids_.begin(), n_tokens, 0);
  std::fill_n(weights_.begin(), n_tokens, 1.0f);
  return GroupByExpert(n_tokens, 1, 1);
}

/// A counting sort: stable, so an expert's slots stay ordered by token.
Routing RoutingBuffer::GroupByExpert(int n_tokens, int k, int n_experts) {
  const size_t n = static_cast<size_t>(n_tokens) * static_cast<size_t>(k);
  const auto experts = static_cast<size_t>(n_experts);
  std::fill_n(offsets_.begin(), experts + 1, 0);
  for (size_t slot = 0; slot < n; ++slot)
    if (ids_[slot] >= 0) ++offsets_[static_cast<size_t>(ids_[slot]) + 1];
  for (size_t e = 0; e < experts; ++e) {
    cursor_[e] = offsets_[e];
    offsets_[e + 1] += offsets_[e];
  }
  for (size_t slot = 0; slot < n; ++slot)
    if (ids_[slot] >= 0)
      slots_[static_cast<size_t>(cursor_[static_cast<size_t>(ids_[slot])]++)] =
          static_cast<int32_t>(slot);
  Routing routing;
  routing.expert_ids = {ids_.data(), n_tokens, k, k};
  routing.weights = {weights_.data(), n_tokens, k, k};
  routing.offsets = std::span(offsets_).first(experts + 1);
  routing.slots = std::span(slots_).first(static_cast<size_t>(offsets_[experts]));
  return routing;
}

}  // namespace mixtral
