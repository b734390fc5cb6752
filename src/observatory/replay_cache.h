// SPDX-License-Identifier: Apache-2.0
// What a cache of experts would have done on a recorded trace: hits and loads for eviction policies
// at any size, and with experts loaded ahead by a guess. Tokens are decoded one after another; the
// cache holds experts of all layers. Arithmetic alone, no model.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "observatory/trace.h"

namespace mixtral::observatory {

/// Every use of an expert, in order: layer * E + expert.
std::vector<int32_t> UsesOf(const Trace& trace);

enum class CachePolicy : uint8_t {
  kLru,          // evicts what was used longest ago
  kLruPerLayer,  // the same with an equal part of the cache for each layer
  kLfu,          // evicts what was used least often; of equals the one used longest ago
  kHybrid,       // evicts the smallest count of uses that fade by half in kHalfLifeTokens (LRFU)
  kOracle,  // knows the future: keeps what is used soonest, and may keep a new one out (Belady)
};
inline constexpr CachePolicy kCachePolicies[] = {CachePolicy::kLru, CachePolicy::kLruPerLayer,
                                                 CachePolicy::kLfu, CachePolicy::kHybrid,
                                                 CachePolicy::kOracle};
inline constexpr int kHalfLifeTokens = 32;
std::string_view CachePolicyName(CachePolicy policy);  // "lru", "lru-layer", ...

struct CacheCounts {
  int64_t uses = 0, hits = 0;
  int64_t prefetched = 0;          // loaded by a guess
  int64_t guessed = 0, right = 0;  // experts guessed; of them used by that token in that layer
  int64_t loads() const { return uses - hits + prefetched; }
  double hit_rate() const {
    return uses == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(uses);
  }
};

/// An empty cache of `capacity` experts (0: nothing is kept) sees all uses.
CacheCounts ReplayCache(std::span<const int32_t> uses, const TraceInfo& info, int capacity,
                        CachePolicy policy);

enum class Predictor : uint8_t {
  kPreviousToken,  // what the token before used in this layer
  kFrequency,      // what was used most often in this layer so far
  kLayerBefore,    // what followed most often on the experts that this token has just used
  kTokenId,        // what the same token used last time; else as kPreviousToken
};
inline constexpr Predictor kPredictors[] = {Predictor::kPreviousToken, Predictor::kFrequency,
                                            Predictor::kLayerBefore, Predictor::kTokenId};
std::string_view PredictorName(Predictor predictor);  // "previous-token", ...

/// LRU, and before each layer the n_guesses likeliest experts are loaded and count as used.
CacheCounts ReplayPrefetch(const Trace& trace, int capacity, Predictor predictor, int n_guesses);

/// A machine whose experts come from disk where the cache lacks them. Rates in bytes per second.
struct CacheMachine {
  double memory_rate = 0, disk_rate = 0;
};
/// Reading every active weight from memory, then the misses from disk; what was prefetched is read
/// from disk at the same time as the memory. An upper bound: nothing else takes time.
double TokensPerSecond(const CacheCounts& counts, const TraceInfo& info, int64_t n_tokens,
                       const CacheMachine& machine);

}  // namespace mixtral::observatory
