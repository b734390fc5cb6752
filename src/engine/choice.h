// SPDX-License-Identifier: Apache-2.0
// One answer of a request as it grows: picks tokens from logits, turns them into text, and knows
// when it is over. Knows nothing of batches, caches and other answers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/service.h"
#include "text/token_stream.h"

namespace mixtral {

class Choice {
 public:
  /// request must outlive it. context: positions that a sequence may have.
  Choice(const Engine& engine, const ServiceRequest* request, int index, int64_t context);

  /// All tokens so far, the prompt first.
  const std::vector<TokenId>& tokens() const { return tokens_; }
  int64_t n_generated() const { return std::ssize(tokens_) - prompt_tokens_; }
  int index() const { return index_; }
  const std::optional<FinishReason>& finish() const { return finish_; }

  /// Chooses the next token from the logits that follow tokens(), [V], which are changed; adds what
  /// that brings to delta. Not after the end.
  void Take(std::span<float> logits, ServiceDelta* delta);
  /// Ends it from outside: cancelled, or no token was wanted.
  void End(FinishReason reason, ServiceDelta* delta);

 private:
  bool IsEnd(TokenId id) const;
  TokenId Pick(std::span<float> logits);
  void AddText(TokenId id, ServiceDelta* delta);

  const ServiceRequest* request_;
  int index_;
  int64_t context_, prompt_tokens_;
  int n_choosable_;  // rows of the vocabulary that can be chosen
  std::vector<TokenId> tokens_, end_ids_;
  SamplerConfig sampler_config_;
  std::optional<Sampler> sampler_;  // from the first token on: it is as large as the vocabulary
  std::optional<TokenStream> text_;
  std::optional<FinishReason> finish_;
};

}  // namespace mixtral
