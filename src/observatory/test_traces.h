// SPDX-License-Identifier: Apache-2.0
// Small traces for the observatory's tests, written down choice by choice.
#pragma once

#include <string>
#include <vector>

#include "observatory/trace.h"

namespace mixtral::observatory::testing {

inline TraceInfo SmallInfo(int n_layers = 1, int n_experts = 4, int k = 2) {
  return {.model = "small",
          .fingerprint = std::string(64, 'a'),
          .n_layers = n_layers,
          .n_experts = n_experts,
          .k = k,
          .vocab_size = 100,
          .dim = 8,
          .expert_bytes = 1000,
          .other_bytes = 500};
}

/// choices [T][L * k]: ids of each token, layer by layer; weights are even. Token t is tokens[t].
inline TraceSequence Sequence(const std::string& domain, const std::vector<TokenId>& tokens,
                              const std::vector<std::vector<int>>& choices, int k = 2) {
  TraceSequence sequence;
  sequence.domain = domain;
  sequence.tokens = tokens;
  for (const std::vector<int>& row : choices)
    for (const int id : row) {
      sequence.expert_ids.push_back(static_cast<uint8_t>(id));
      sequence.weights.push_back(id == kNoExpert ? uint8_t{0} : static_cast<uint8_t>(255 / k));
    }
  return sequence;
}

}  // namespace mixtral::observatory::testing
