// SPDX-License-Identifier: Apache-2.0
// Which expert got which token, as data: the model's shape, and for every token and layer the
// chosen experts with their weights. What the observatory's statistics, pages and simulators work
// on; trace_file.h puts it on disk.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/token_id.h"

namespace mixtral::observatory {

inline constexpr int kMaxTraceExperts = 255;  // an id is a byte, and one value means none
inline constexpr uint8_t kNoExpert = 255;

/// The model that was watched, and what its experts cost.
struct TraceInfo {
  std::string model;        // its path or name, for reports
  std::string fingerprint;  // 64 hex digits; equal for equal routers, see model_info.h
  int n_layers = 0;
  int n_experts = 0;  // of a layer, at most kMaxTraceExperts
  int k = 0;          // experts of a token
  int vocab_size = 0;
  int dim = 0;
  uint64_t expert_bytes = 0;  // weights of one expert in one layer
  uint64_t other_bytes = 0;   // weights that every token reads beside the experts
};

/// Consecutive tokens of one text.
struct TraceSequence {
  std::string domain;
  int64_t first_position = 0;
  std::vector<TokenId> tokens;      // [T]
  std::vector<uint8_t> expert_ids;  // [T, L, k] heaviest first; kNoExpert behind a token's last
  std::vector<uint8_t> weights;     // [T, L, k] in 255ths, rounded; 0 for none
};

struct Trace {
  TraceInfo info;
  std::map<TokenId, std::string> pieces;  // the text that a token adds; may lack tokens
  std::vector<TraceSequence> sequences;

  size_t row() const {  // bytes of a token
    return static_cast<size_t>(info.n_layers) * static_cast<size_t>(info.k);
  }
  /// [k] of one token and layer.
  std::span<const uint8_t> Choice(const TraceSequence& sequence, size_t token, int layer) const {
    const auto k = static_cast<size_t>(info.k);
    return std::span(sequence.expert_ids)
        .subspan(token * row() + static_cast<size_t>(layer) * k, k);
  }
};

/// Domains in the order of their first sequence.
std::vector<std::string> DomainsOf(const Trace& trace);
int64_t TokensOf(const Trace& trace);

}  // namespace mixtral::observatory
