// SPDX-License-Identifier: Apache-2.0
// One forward step of several sequences: collects their rows in buffers that are sized once, runs
// it, and hands out each sequence's logits and hidden states. When a step fails its sequences are
// run one by one, so that a failure reaches only those that cause it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "model/kv_cache.h"
#include "model/observer.h"

namespace mixtral {

/// Transformer::Forward, or something that stands for it.
using ForwardFunction =
    std::function<void(const Batch&, KvCache&, const ForwardOutput&, ForwardObserver*)>;

struct StepSizes {
  int max_rows = 0;         // of one step
  int max_output_rows = 0;  // with logits; with hidden states as well
  int vocab_size = 0, dim = 0;
};

/// New tokens of one sequence, whose pages are reserved.
struct StepPart {
  SeqId seq = -1;
  int64_t start = 0;
  std::span<const TokenId> tokens;
  int n_logit_rows = 0, n_hidden_rows = 0;  // its last rows, so many
  const RoutingPolicy* policy = nullptr;    // nullptr = the model's own
};

class StepRunner {
 public:
  StepRunner(ForwardFunction forward, KvCache* kv, const StepSizes& sizes);

  void Clear();
  /// Returns the part's index. The sizes are the caller's to keep.
  size_t Add(const StepPart& part);
  void Run(ForwardObserver* observer);

  // After Run, of a part that has no error:
  std::span<float> Logits(size_t part, int row);  // [V]; row: of those asked for; may be changed
  std::span<const float> Hidden(size_t part, int row) const;  // [D]
  const std::optional<Error>& ErrorOf(size_t part) const { return errors_[part]; }

 private:
  struct Rows {
    int n_logits = 0, n_hidden = 0, first_logits = 0, first_hidden = 0;
  };
  void Forward(size_t first_part, size_t n_parts, ForwardObserver* observer);
  void RunOneByOne(ForwardObserver* observer);

  ForwardFunction forward_;
  KvCache* kv_;
  StepSizes sizes_;
  std::vector<TokenId> tokens_;
  std::vector<SeqRange> ranges_;
  std::vector<const RoutingPolicy*> policies_;
  std::vector<int32_t> logit_rows_, hidden_rows_, alone_rows_;
  std::vector<Rows> rows_;
  std::vector<std::optional<Error>> errors_;
  std::vector<float> logits_, hidden_;  // [max_output_rows, V], [max_output_rows, D]
};

}  // namespace mixtral
