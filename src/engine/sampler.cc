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

constexpr float kInfinity = std::numeric_limits<float>::infinity();

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
  float best = -kInfinity;
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
  CheckRange("typical_p", typical_p, std::numeric_limits<float>::min(), 1.0f);
  CheckRange("repetition_penalty", repetition_penalty, 0.01f, 100.0f);
  CheckNotNegative("repetition_window", repetition_window);
  CheckRange("frequency_penalty", frequency_penalty, -2.0f, 2.0f);
  CheckRange("presence_penalty", presence_penalty, -2.0f, 2.0f);
  CheckNotNegative("min_tokens", min_tokens);
  for (const auto& [id, bias] : logit_bias)
    if (!(std::abs(bias) <= 100.0f) && bias != -kInfinity)
      Throw(ErrorCode::kInvalidArgument, "logit_bias: expected -100..100 or -inf, found {} for {}",
            bias, id);
}

Sampler::Sampler(const SamplerConfig& config, int vocab_size) : config_(config), rng_(config.seed) {
  config_.Validate();
  Check(vocab_size > 0, "a sampler needs a vocabulary");
  for (const auto& [id, bias] : config_.logit_bias)
    if (id < 0 || id >= vocab_size)
      Throw(ErrorCode::kInvalidArgument, "logit_bias: expected token ids in 0..{}, found {}",
            vocab_size - 1, id);
  counts_.resize(static_cast<size_t>(vocab_size));
  candidates_.reserve(static_cast<size_t>(vocab_size));
}

bool Sampler::IsWorse(const Candidate& a, const Candidate& b) noexcept {
  return a.rank != b.rank ? a.rank < b.rank : a.id > b.id;
}

void Sampler::PenaliseRepetition(std::span<float> logits,
                                 std::span<const TokenId> tokens) noexcept {
  const float penalty = config_.repetition_penalty;
  if (penalty == 1.0f) return;
  const auto window = static_cast<size_t>(config_.repetition_window);
  const auto tail = tokens.last(std::min(tokens.size(), window));
  for (const TokenId id : tail) {
    const auto i = static_cast<size_t>(id);
    if (id < 0 || i >= logits.size() || counts_[i]++ != 0) continue;
    logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
  }
  for (const TokenId id : tail)
    if (id >= 0 && static_cast<size_t>(id) < logits.size()) counts_[static_cast<size_t>(id)] = 0;
}

void Sampler::PenaliseGenerated(std::span<float> logits,
                                std::span<const TokenId> generated) noexcept {
  if (config_.frequency_penalty == 0 && config_.presence_penalty == 0) return;
  for (const TokenId id : generated)
    if (id >= 0 && static_cast<size_t>(id) < logits.size()) ++counts_[static_cast<size_t>(id)];
  for (const TokenId id : generated) {
    const auto i = static_cast<size_t>(id);
    if (id < 0 || i >= logits.size() || counts_[i] == 0) continue;
    logits[i] -= static_cast<float>(counts_[i]) * config_.frequency_penalty;
    logits[i] -= config_.presence_penalty;
    counts_[i] = 0;
  }
}

void Sampler::AddBias(std::span<float> logits, size_t n_generated) const noexcept {
  for (const auto& [id, bias] : config_.logit_bias)
    if (static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] += bias;
  if (n_generated >= static_cast<size_t>(config_.min_tokens)) return;
  for (const TokenId id : config_.end_ids)
    if (id >= 0 && static_cast<size_t>(id) < logits.size())
      logits[static_cast<size_t>(id)] = -kInfinity;
}

void Sampler::Collect(std::span<const float> logits) noexcept {
  candidates_.clear();
  float best = -kInfinity;
  for (const float logit : logits)
    if (logit > best) best = logit;
  if (best == -kInfinity) return;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float weight = Weight(logits[i], best, config_.temperature);  // none for NaN, -inf
    if (weight > 0) candidates_.push_back({static_cast<TokenId>(i), weight, weight});
  }
}

double Sampler::TotalWeight() const noexcept {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  return total;
}

/// Keeps the best of candidates_ by rank, as long as goes_on(how many there are, their weight).
/// They end up sorted, the best one last.
template <class GoesOn>
void Sampler::KeepBest(const GoesOn& goes_on) noexcept {
  std::make_heap(candidates_.begin(), candidates_.end(), IsWorse);
  auto kept = candidates_.end();  // from here on: the best ones
  double weight = 0;
  size_t n = 0;
  for (; kept != candidates_.begin() && goes_on(n, weight); ++n) {
    std::pop_heap(candidates_.begin(), kept, IsWorse);
    weight += (--kept)->weight;
  }
  candidates_.erase(candidates_.begin(), kept);
}

/// Locally typical sampling: a token's rank is how near its surprise -ln p is to what is expected
/// of the whole distribution, its entropy. With p = weight / total the total cancels.
void Sampler::KeepTypical() noexcept {
  const double total = TotalWeight();
  double mean = 0;  // of ln weight
  for (const Candidate& c : candidates_) mean += c.weight * std::log(double{c.weight}) / total;
  for (Candidate& c : candidates_)
    c.rank = -static_cast<float>(std::abs(mean - std::log(double{c.weight})));
  KeepBest([&](size_t /*n*/, double weight) { return weight < config_.typical_p * total; });
  for (Candidate& c : candidates_) c.rank = c.weight;
}

void Sampler::KeepMinP() noexcept {
  float best = 0;  // 1, unless typical-p left the best one out
  for (const Candidate& c : candidates_) best = std::max(best, c.weight);
  const float least = best * config_.min_p;
  std::erase_if(candidates_, [least](const Candidate& c) noexcept { return c.weight < least; });
}

TokenId Sampler::Draw(double uniform) const noexcept {
  if (candidates_.empty()) return 0;
  double rest = uniform * TotalWeight();
  for (const Candidate& c : candidates_) {
    rest -= c.weight;
    if (rest < 0) return c.id;
  }
  return candidates_.back().id;  // rounding left a last crumb
}

TokenId Sampler::Pick(std::span<float> logits, const TokenHistory& history) noexcept {
  Check(logits.size() <= counts_.size(), "more logits than the sampler was made for");
  Check(history.n_prompt <= history.tokens.size(), "a prompt longer than the text");
  const double uniform = rng_.Uniform(drawn_++);
  const auto generated = history.generated();
  PenaliseRepetition(logits, history.tokens);
  PenaliseGenerated(logits, generated);
  AddBias(logits, generated.size());
  if (config_.temperature == 0) return Greedy(logits);
  Collect(logits);
  const auto top_k = static_cast<size_t>(config_.top_k);
  if (top_k > 0 && top_k < candidates_.size())
    KeepBest([top_k](size_t n, double /*weight*/) { return n < top_k; });
  if (config_.typical_p < 1) KeepTypical();
  if (config_.top_p < 1) {
    const double total = TotalWeight();
    KeepBest([&](size_t /*n*/, double weight) { return weight < config_.top_p * total; });
  }
  if (config_.min_p > 0) KeepMinP();
  return Draw(uniform);
}

}  // namespace mixtral
