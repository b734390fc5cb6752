// SPDX-License-Identifier: Apache-2.0
// The input and output of one forward step. Prefill and decode are the same thing: rows of tokens
// of some sequences.
#pragma once

#include <cstdint>
#include <span>

#include "base/token_id.h"
#include "moe/routing.h"
#include "tensor/view.h"

namespace mixtral {

using SeqId = int32_t;

/// Rows [first_row, first_row + n_rows) of the batch are positions [start, start + n_rows) of seq.
struct SeqRange {
  SeqId seq = -1;
  int first_row = 0, n_rows = 0;
  int64_t start = 0;
};

struct Batch {
  std::span<const TokenId> tokens;   // [T] all sequences' new tokens, concatenated
  std::span<const SeqRange> ranges;  // in row order, covering all rows, every sequence at most once
  std::span<const int32_t> logit_rows;        // rows whose logits are wanted, any order
  std::span<const int32_t> hidden_rows = {};  // rows whose final-norm hidden state is wanted
  std::span<const RoutingPolicy* const> policies =
      {};  // per range; nullptr or empty = the model's own routing
};

struct ForwardOutput {
  Matrix<float> logits;  // host [logit_rows, V], filled by Forward
  Matrix<float> hidden;  // host [hidden_rows, D], filled by Forward; empty when none was asked for
};

}  // namespace mixtral
