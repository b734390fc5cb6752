// SPDX-License-Identifier: Apache-2.0
// log softmax in double, in order of ids, so that the same row always gives the same numbers.
#include "engine/token_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mixtral {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

float Sane(float logit) { return std::isnan(logit) ? kNone : logit; }

/// The log of the sum of exp(logit - best); 0 for a row without any probability.
double LogSum(std::span<const float> logits, float best) {
  if (std::isinf(best)) return 0;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(Sane(logit)) - best);
  return std::log(sum);
}

}  // namespace

ScoredToken ScoreToken(std::span<const float> logits, TokenId id, int top) {
  float best = kNone;
  for (const float logit : logits) best = std::max(best, Sane(logit));
  const double log_sum = LogSum(logits, best);
  const auto logprob = [&](float logit) {
    if (Sane(logit) == best) return static_cast<float>(-log_sum);  // infinite ones, too
    return static_cast<float>(static_cast<double>(Sane(logit)) - best - log_sum);
  };
  ScoredToken scored;
  scored.token = {id, logprob(logits[static_cast<size_t>(id)])};
  const size_t n_top = std::min(static_cast<size_t>(std::max(top, 0)), logits.size());
  if (n_top == 0) return scored;
  std::vector<TokenLogprob>& list = scored.top;  // logits until the end
  list.reserve(n_top + 1);
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = Sane(logits[i]);
    if (list.size() == n_top && logit <= list.back().logprob) continue;
    const auto after = std::find_if(list.begin(), list.end(), [logit](const TokenLogprob& other) {
      return other.logprob < logit;
    });
    list.insert(after, {static_cast<TokenId>(i), logit});
    if (list.size() > n_top) list.pop_back();
  }
  for (TokenLogprob& entry : list) entry.logprob = logprob(entry.logprob);
  return scored;
}

}  // namespace mixtral
