// SPDX-License-Identifier: Apache-2.0
// Two checkpoints with one vocabulary over the same tokens, side by side, slice after slice: what
// `mixtral compare` computes. What is made of the rows is comparison.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "eval/comparison.h"
#include "eval/text_windows.h"

namespace mixtral::eval {

struct ComparisonOptions {
  std::string base_path, other_path;
  EngineOptions engine;
  DType kv_dtype = DType::kF16;
  int64_t context = 0;  // of a window; 0 = what both have, at most 512
};

class ComparisonRun {
 public:
  /// Throws what Engine throws, Error{kUnsupported} in one line for two vocabularies, and
  /// Error{kInvalidArgument} for a context that one of them does not have.
  explicit ComparisonRun(const ComparisonOptions& options);
  ~ComparisonRun();

  const Engine& base() const;
  int64_t context() const { return context_; }
  /// Whether both route alike, so that their choices can be compared.
  bool compares_routing() const { return routing_.has_value(); }
  /// The rows that score a window's last tokens. on_rows gets how many were computed; false from
  /// it ends the run, and then Add gives false.
  bool Add(const TokenWindow& window, const std::function<bool(int64_t n_rows)>& on_rows);
  /// {"predictions": ..., "routing": ... or null}
  Json ToJson() const;

 private:
  class Side;
  void TakeRow(int row, TokenId next);

  std::unique_ptr<Side> base_, other_;
  int64_t context_ = 0;
  PredictionComparison predictions_;
  std::optional<RoutingComparison> routing_;
};

}  // namespace mixtral::eval
