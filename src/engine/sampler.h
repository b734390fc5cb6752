// SPDX-License-Identifier: Apache-2.0
// Logits -> one token: penalties, bias, temperature, top-k, typical-p, top-p, min-p, then a draw
// from a counter-based stream, so that the same seed gives the same tokens whatever else the engine
// does. docs/sampling.md says what each step computes and where it comes from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "model/batch.h"

namespace mixtral {

/// Added to one token's logit: -100..100, or -infinity (never chosen).
struct LogitBias {
  TokenId id = -1;
  float bias = 0;
};

struct SamplerConfig {
  float temperature = 0.7f;  // 0 = greedy (lowest id wins ties)
  int top_k = 0;             // 0 = off
  float top_p = 1.0f;        // 1 = off; smallest set with at least this probability
  float min_p = 0.0f;        // 0 = off; drops tokens below min_p times the best one's probability
  float typical_p = 1.0f;    // 1 = off; smallest set with this probability, the least surprising of
                             // the distribution's own entropy first
  float repetition_penalty =
      1.0f;  // 1 = off; divides positive, multiplies negative logits of recent tokens
  int repetition_window = 64;      // recent tokens that are penalised, those of the prompt included
  float frequency_penalty = 0.0f;  // -2..2; subtracted once for each time a token was generated
  float presence_penalty = 0.0f;   // -2..2; subtracted once if a token was generated at all
  std::vector<LogitBias> logit_bias = {};  // an id given twice gets both
  int min_tokens = 0;                      // before so many were generated, none of end_ids
  std::vector<TokenId> end_ids = {};
  uint64_t seed = 0;

  /// Throws Error{kInvalidArgument} naming field, range and value.
  void Validate() const;
};

/// The tokens before the one to be chosen: first n_prompt that were given, then those generated.
struct TokenHistory {
  std::span<const TokenId> tokens = {};
  size_t n_prompt = 0;  // at most tokens.size()

  std::span<const TokenId> generated() const { return tokens.subspan(n_prompt); }
};

class Sampler {
 public:
  /// Throws what Validate throws, and Error{kInvalidArgument} for a logit_bias of an id that
  /// vocab_size does not have.
  Sampler(const SamplerConfig& config, int vocab_size);
  /// Changes logits in place. The n-th call uses the n-th number of the seed's stream, and nothing
  /// else is remembered between calls. NaN and -infinity are never chosen, +infinity wins over all
  /// else; if nothing is left, the lowest id. logits has at most vocab_size values.
  TokenId Pick(std::span<float> logits, const TokenHistory& history) noexcept;

 private:
  struct Candidate {
    TokenId id;
    float weight;  // exp((logit - best) / temperature)
    float rank;    // what the step that sorts goes by
  };
  static bool IsWorse(const Candidate& a, const Candidate& b) noexcept;
  void PenaliseRepetition(std::span<float> logits, std::span<const TokenId> tokens) noexcept;
  void PenaliseGenerated(std::span<float> logits, std::span<const TokenId> generated) noexcept;
  void AddBias(std::span<float> logits, size_t n_generated) const noexcept;
  void Collect(std::span<const float> logits) noexcept;
  template <class GoesOn>
  void KeepBest(const GoesOn& goes_on) noexcept;
  void KeepTypical() noexcept;
  void KeepMinP() noexcept;
  double TotalWeight() const noexcept;
  TokenId Draw(double uniform) const noexcept;

  SamplerConfig config_;
  CounterRng rng_;
  uint64_t drawn_ = 0;
  std::vector<uint32_t> counts_;       // [vocab_size] all 0 between calls
  std::vector<Candidate> candidates_;  // capacity vocab_size
};

}  // namespace mixtral
