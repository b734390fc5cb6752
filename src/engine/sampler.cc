// SPDX-License-Identifier: Apache-2.0
// The steps of Pick, in the order of the header. Nothing here allocates after construction.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace mixtral {
namespace {

void CheckRange(const char* field, float value, float min, float max) {
  if (!(value >= min && value <= max))
    Throw(ErrorCode::kInvalidArgument, "{}: expected {}..{}, found {}", field, min, max, value);
}

void CheckNotNegative(const char* field, int value) {
  if (value < 0)
    Throw(ErrorCode::kInvalidArgument, "{}: expected 0 or more, found {}", field, value);
}

/// The largest logit's lowest id; 0 when no logit can be chosen.
TokenId Greedy(std::span<const float> logits) noexcept {
  float best = -std::numeric_limits<float>::infinity();
  size_t best_idx = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best) {  // false for NaN
      best = logits[i];
      best_idx = i;
    }
  }
  return static_cast<TokenId>(best_idx);
}

/// exp((logit - best) / temperature). inf - inf would be NaN: with an infinite best, those at the
/// top share everything.
float Weight(float logit, float best, float temperature) noexcept {
  if (logit == best) return 1.0f;
  if (std::isinf(best)) return 0.0f;
  return static_cast<float>(std::exp((static_cast<double>(logit) - best) / temperature));
}

}  // namespace

void SamplerConfig::Validate() const {
  CheckRange("temperature", temperature, 0.0f, 100.0f);
  CheckNotNegative("top_k", top_k);
  CheckRange("top_p", top_p, std::numeric_limits<float>::min(), 1.0f);
  CheckRange("min_p", min_p, 0.0f, 1.0f);
  CheckRange("repetition_penalty", repetition_penalty, 0.01f, 100.0f);
  CheckNotNegative("repetition_window", repetition_window);
}

Sampler::Sampler(const SamplerConfig& config, int vocab_size) : config_(config), rng_(config.seed) {
  config_.Validate();
  Check(vocab_size > 0, "a sampler needs a vocabulary");
  seen_.resize(static_cast<size_t>(vocab_size));
  candidates_.reserve(static_cast<size_t>(vocab_size));
}

bool Sampler::IsWorse(const Candidate& a, const Candidate& b) noexcept {
  return a.weight != b.weight ? a.weight < b.weight : a.id > b.id;
}

void Sampler::Penalise(std::span<float> logits, std::span<const TokenId> recent) noexcept {
  const float penalty = config_.repetition_penalty;
  if (penalty == 1.0f) return;
  const size_t window =
      std::min(recent.size(), static_cast<size_t>(std::max(0, config_.repetition_window)));
  const auto tail = recent.last(window);
  for (const TokenId id : tail) {
    const auto i = static_cast<size_t>(id);
    if (id < 0 || i >= logits.size() || seen_[i] != 0) continue;
    seen_[i] = 1;
    logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
  }
  for (const TokenId id : tail)
    if (id >= 0 && static_cast<size_t>(id) < seen_.size()) seen_[static_cast<size_t>(id)] = 0;
}

void Sampler::Collect(std::span<const float> logits) noexcept {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  candidates_.clear();
  float best = -kInfinity;
  for (const float logit : logits)
    if (logit > best) best = logit;
  if (best == -kInfinity) return;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float weight = Weight(logits[i], best, config_.temperature);  // none for NaN, -inf
    if (weight > 0) candidates_.push_back({static_cast<TokenId>(i), weight});
  }
}

/// Applies top-k, top-p and min-p. What is left stands in a fixed order: the best one last where
/// top-k or top-p cut, by ascending id otherwise.
void Sampler::Truncate() noexcept {
  const size_t n = candidates_.size();
  const auto top_k = static_cast<size_t>(config_.top_k);
  const bool cut_k = top_k > 0 && top_k < n, cut_p = config_.top_p < 1.0f;
  if (cut_k || cut_p) {
    double total = 0;
    std::make_heap(candidates_.begin(), candidates_.end(), IsWorse);
    size_t taken = 0;  // the best `taken` candidates are sorted at the end of candidates_
    const auto take = [&]() noexcept {
      std::pop_heap(candidates_.begin(), candidates_.end() - static_cast<ptrdiff_t>(taken),
                    IsWorse);
      return candidates_[n - ++taken].weight;
    };
    if (cut_k) {
      while (taken < top_k) total += take();
    } else {
      for (const Candidate& c : candidates_) total += c.weight;
    }
    double sum = 0;
    size_t kept = 0;
    while (kept < (cut_k ? top_k : n) && sum < config_.top_p * total) {
      sum += kept < taken ? candidates_[n - 1 - kept].weight : take();
      ++kept;
    }
    candidates_.erase(candidates_.begin(), candidates_.end() - static_cast<ptrdiff_t>(kept));
  }
  if (config_.min_p > 0) {
    const float min_p = config_.min_p;  // the best candidate's weight is 1
    std::erase_if(candidates_, [min_p](const Candidate& c) noexcept { return c.weight < min_p; });
  }
}

TokenId Sampler::Pick(std::span<float> logits, std::span<const TokenId> recent) noexcept {
  Check(logits.size() <= seen_.size(), "more logits than the sampler was made for");
  const double uniform = rng_.Uniform(drawn_++);
  Penalise(logits, recent);
  if (config_.temperature == 0) return Greedy(logits);
  Collect(logits);
  Truncate();
  if (candidates_.empty()) return 0;
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double rest = uniform * total;
  for (const Candidate& c : candidates_) {
    rest -= c.weight;
    if (rest < 0) return c.id;
  }
  return candidates_.back().id;  // rounding left a last crumb
}

}  // namespace mixtral
