// SPDX-License-Identifier: Apache-2.0
// A policy is a score; the cached expert with the lowest one goes. Scores of policies that fade are
// kept as logarithms relative to a fixed time, so that they need no renewal.
#include "observatory/replay_cache.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

namespace mixtral::observatory {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

size_t At(int32_t i) { return static_cast<size_t>(i); }

/// When each use's expert is used again, kNever if it is not. [uses]
std::vector<double> NextUses(std::span<const int32_t> uses, size_t n_keys) {
  std::vector<double> next(uses.size()), seen(n_keys, kNever);
  for (size_t i = uses.size(); i-- > 0;) {
    next[i] = seen[At(uses[i])];
    seen[At(uses[i])] = static_cast<double>(i);
  }
  return next;
}

class Cache {
 public:
  Cache(size_t n_keys, int capacity) : is_in_(n_keys), score_(n_keys), capacity_(capacity) {}

  bool Has(int32_t key) const { return is_in_[At(key)] != 0; }
  void Rate(int32_t key, double score) { score_[At(key)] = score; }
  /// Makes room by the lowest score; may_refuse: the new one stays out when its own is the lowest.
  void Insert(int32_t key, bool may_refuse) {
    if (capacity_ == 0) return;
    if (std::ssize(held_) < capacity_) {
      held_.push_back(key);
      is_in_[At(key)] = 1;
      return;
    }
    const auto lowest = std::min_element(held_.begin(), held_.end(), [&](int32_t a, int32_t b) {
      return score_[At(a)] < score_[At(b)];
    });
    if (may_refuse && score_[At(key)] < score_[At(*lowest)]) return;
    is_in_[At(*lowest)] = 0;
    is_in_[At(key)] = 1;
    *lowest = key;
  }

 private:
  std::vector<uint8_t> is_in_;
  std::vector<double> score_;
  std::vector<int32_t> held_;
  int capacity_;
};

/// Scores that need the past alone.
class PastScore {
 public:
  PastScore(CachePolicy policy, size_t n_keys, double half_life)
      : policy_(policy), half_life_(half_life), count_(n_keys), faded_(n_keys, -kNever) {}

  double Used(int32_t key, double now) {
    if (policy_ == CachePolicy::kLfu) {
      ++count_[At(key)];
      return count_[At(key)] * 1e12 + now;  // fewer than 1e12 uses
    }
    if (policy_ != CachePolicy::kHybrid) return now;
    // log2 of the sum of 2^(t / half_life) over all uses t: orders as the faded counts do.
    double& sum = faded_[At(key)];
    const double term = now / half_life_;
    const double high = std::max(sum, term), low = std::min(sum, term);
    sum = high + std::log2(1 + std::exp2(low - high));
    return sum;
  }

 private:
  CachePolicy policy_;
  double half_life_;
  std::vector<double> count_, faded_;
};

CacheCounts ReplayShared(std::span<const int32_t> uses, size_t n_keys, int capacity,
                         CachePolicy policy, double half_life) {
  const bool is_oracle = policy == CachePolicy::kOracle;
  const std::vector<double> next = is_oracle ? NextUses(uses, n_keys) : std::vector<double>();
  PastScore past(policy, n_keys, half_life);
  Cache cache(n_keys, capacity);
  CacheCounts counts;
  for (size_t i = 0; i < uses.size(); ++i) {
    const int32_t key = uses[i];
    cache.Rate(key, is_oracle ? -next[i] : past.Used(key, static_cast<double>(i)));
    ++counts.uses;
    if (cache.Has(key))
      ++counts.hits;
    else
      cache.Insert(key, is_oracle);
  }
  return counts;
}

/// The n best of scores, the lower expert first among equals; those without a score are left out.
std::vector<int32_t> Best(std::span<const double> scores, int n) {
  std::vector<int32_t> order;
  for (size_t e = 0; e < scores.size(); ++e)
    if (scores[e] > 0) order.push_back(static_cast<int32_t>(e));
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return scores[At(a)] > scores[At(b)]; });
  order.resize(std::min(order.size(), At(n)));
  return order;
}

/// Learns while it guesses; knows only what came before.
class Guesser {
 public:
  Guesser(const TraceInfo& info, Predictor predictor, int n_guesses)
      : predictor_(predictor),
        n_guesses_(n_guesses),
        n_experts_(At(info.n_experts)),
        previous_(At(info.n_layers)),
        counts_(At(info.n_layers), std::vector<double>(n_experts_)),
        follows_(At(info.n_layers), std::vector<double>(n_experts_ * n_experts_)),
        of_token_(At(info.n_layers)) {}

  std::vector<int32_t> Guess(TokenId token, size_t layer) const {
    if (predictor_ == Predictor::kFrequency) return Best(counts_[layer], n_guesses_);
    if (predictor_ == Predictor::kTokenId) {
      const auto it = of_token_[layer].find(token);
      if (it != of_token_[layer].end()) return First(it->second);
    }
    if (predictor_ == Predictor::kLayerBefore && layer > 0) {
      std::vector<double> scores(n_experts_);
      for (const int32_t from : previous_[layer - 1])  // of this token already
        for (size_t e = 0; e < n_experts_; ++e)
          scores[e] += follows_[layer][At(from) * n_experts_ + e];
      return Best(scores, n_guesses_);
    }
    return First(previous_[layer]);
  }

  void Learn(TokenId token, size_t layer, const std::vector<int32_t>& used) {
    for (const int32_t e : used) {
      ++counts_[layer][At(e)];
      if (layer > 0)
        for (const int32_t from : previous_[layer - 1])
          ++follows_[layer][At(from) * n_experts_ + At(e)];
    }
    previous_[layer] = used;
    if (predictor_ == Predictor::kTokenId) of_token_[layer][token] = used;
  }

 private:
  std::vector<int32_t> First(const std::vector<int32_t>& list) const {
    return {list.begin(),
            list.begin() + static_cast<ptrdiff_t>(std::min(list.size(), At(n_guesses_)))};
  }

  Predictor predictor_;
  int n_guesses_;
  size_t n_experts_;
  std::vector<std::vector<int32_t>> previous_;  // [L] of the last token there
  std::vector<std::vector<double>> counts_;     // [L][E]
  std::vector<std::vector<double>> follows_;    // [L][E, E] from the layer before
  std::vector<std::map<TokenId, std::vector<int32_t>>> of_token_;  // [L]
};

}  // namespace

std::vector<int32_t> UsesOf(const Trace& trace) {
  std::vector<int32_t> uses;
  for (const TraceSequence& sequence : trace.sequences)
    for (size_t t = 0; t < sequence.tokens.size(); ++t)
      for (int l = 0; l < trace.info.n_layers; ++l)
        for (const uint8_t id : trace.Choice(sequence, t, l))
          if (id != kNoExpert) uses.push_back(l * trace.info.n_experts + id);
  return uses;
}

std::string_view CachePolicyName(CachePolicy policy) {
  constexpr std::array<std::string_view, 5> kNames = {"lru", "lru-layer", "lfu", "hybrid",
                                                      "oracle"};
  return kNames[static_cast<size_t>(policy)];
}

std::string_view PredictorName(Predictor predictor) {
  constexpr std::array<std::string_view, 4> kNames = {"previous-token", "frequency", "layer-before",
                                                      "token-id"};
  return kNames[static_cast<size_t>(predictor)];
}

CacheCounts ReplayCache(std::span<const int32_t> uses, const TraceInfo& info, int capacity,
                        CachePolicy policy) {
  const size_t n_keys = At(info.n_layers) * At(info.n_experts);
  const double half_life = static_cast<double>(kHalfLifeTokens) * info.n_layers * info.k;
  if (policy != CachePolicy::kLruPerLayer)
    return ReplayShared(uses, n_keys, capacity, policy, half_life);
  CacheCounts counts;
  for (int l = 0; l < info.n_layers; ++l) {
    std::vector<int32_t> own;
    for (const int32_t use : uses)
      if (use / info.n_experts == l) own.push_back(use);
    const int part = capacity / info.n_layers + (l < capacity % info.n_layers ? 1 : 0);
    const CacheCounts layer = ReplayShared(own, n_keys, part, CachePolicy::kLru, half_life);
    counts.uses += layer.uses;
    counts.hits += layer.hits;
  }
  return counts;
}

CacheCounts ReplayPrefetch(const Trace& trace, int capacity, Predictor predictor, int n_guesses) {
  const TraceInfo& info = trace.info;
  Cache cache(At(info.n_layers) * At(info.n_experts), capacity);
  Guesser guesser(info, predictor, n_guesses);
  CacheCounts counts;
  double now = 0;
  for (const TraceSequence& sequence : trace.sequences)
    for (size_t t = 0; t < sequence.tokens.size(); ++t)
      for (int l = 0; l < info.n_layers; ++l) {
        std::vector<int32_t> used;
        for (const uint8_t id : trace.Choice(sequence, t, l))
          if (id != kNoExpert) used.push_back(id);
        for (const int32_t guess : guesser.Guess(sequence.tokens[t], At(l))) {
          const int32_t key = l * info.n_experts + guess;
          ++counts.guessed;
          counts.right += std::find(used.begin(), used.end(), guess) != used.end() ? 1 : 0;
          cache.Rate(key, now++);
          if (cache.Has(key)) continue;
          ++counts.prefetched;
          cache.Insert(key, false);
        }
        for (const int32_t e : used) {
          const int32_t key = l * info.n_experts + e;
          ++counts.uses;
          cache.Rate(key, now++);
          if (cache.Has(key))
            ++counts.hits;
          else
            cache.Insert(key, false);
        }
        guesser.Learn(sequence.tokens[t], At(l), used);
      }
  return counts;
}

double TokensPerSecond(const CacheCounts& counts, const TraceInfo& info, int64_t n_tokens,
                       const CacheMachine& machine) {
  const auto expert = static_cast<double>(info.expert_bytes), n = static_cast<double>(n_tokens);
  const double memory =
      (static_cast<double>(info.other_bytes) + static_cast<double>(counts.uses) / n * expert) /
      machine.memory_rate;
  const double ahead = static_cast<double>(counts.prefetched) / n * expert / machine.disk_rate;
  const double waited =
      static_cast<double>(counts.uses - counts.hits) / n * expert / machine.disk_rate;
  return 1 / (std::max(memory, ahead) + waited);
}

}  // namespace mixtral::observatory
