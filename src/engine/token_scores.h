// SPDX-License-Identifier: Apache-2.0
// Log-probabilities of tokens from a row of logits: of the model's own distribution over all its
// rows, before anything that sampling changes.
#pragma once

#include <span>
#include <vector>

#include "base/token_id.h"

namespace mixtral {

struct TokenLogprob {
  TokenId id = -1;
  float logprob = 0;  // natural log
};

struct ScoredToken {
  TokenLogprob token;
  std::vector<TokenLogprob> top;  // top_logprobs of them, best first; ties: lower id first
};

/// logits [V]. NaN counts as -infinity; a token without probability has -infinity. top: how many of
/// the best to list, at most V.
ScoredToken ScoreToken(std::span<const float> logits, TokenId id, int top);

}  // namespace mixtral
