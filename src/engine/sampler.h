// SPDX-License-Identifier: Apache-2.0
// Logits -> one token: repetition penalty, temperature, top-k, top-p, min-p, then a draw from a
// counter-based stream, so that the same seed gives the same tokens whatever else the engine does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "model/batch.h"

namespace mixtral {

struct SamplerConfig {
  float temperature = 0.7f;  // 0 = greedy (lowest id wins ties)
  int top_k = 0;             // 0 = off
  float top_p = 1.0f;        // 1 = off; smallest set with at least this probability
  float min_p = 0.0f;        // 0 = off; drops tokens below min_p times the best one's probability
  float repetition_penalty =
      1.0f;  // 1 = off; divides positive, multiplies negative logits of recent tokens
  int repetition_window = 64;  // recent tokens that are penalised
  uint64_t seed = 0;

  /// Throws Error{kInvalidArgument} naming field, range and value.
  void Validate() const;
};

class Sampler {
 public:
  Sampler(const SamplerConfig& config, int vocab_size);
  /// Changes logits in place. recent: all tokens so far, the window is its tail; a token that is
  /// there twice is penalised once. The n-th call uses the n-th number of the seed's stream. NaN
  /// and -infinity are never chosen, +infinity wins over all else; if nothing is left, the lowest
  /// id. logits has at most vocab_size values.
  TokenId Pick(std::span<float> logits, std::span<const TokenId> recent) noexcept;

 private:
  struct Candidate {
    TokenId id;
    float weight;  // the logit first, then exp((logit - best) / temperature)
  };
  static bool IsWorse(const Candidate& a, const Candidate& b) noexcept;
  void Penalise(std::span<float> logits, std::span<const TokenId> recent) noexcept;
  void Collect(std::span<const float> logits) noexcept;
  void Truncate() noexcept;

  SamplerConfig config_;
  CounterRng rng_;
  uint64_t drawn_ = 0;
  std::vector<uint8_t> seen_;          // [vocab_size] all 0 between calls
  std::vector<Candidate> candidates_;  // capacity vocab_size
};

}  // namespace mixtral
