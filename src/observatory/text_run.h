// SPDX-License-Identifier: Apache-2.0
// Texts through a model, window by window, for what watches the forward pass or sums up losses. A
// window is one sequence from position 0, BOS before it where the vocabulary has one; a longer text
// becomes several.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/row_reader.h"
#include "engine/engine.h"

namespace mixtral::observatory {

struct Window {
  std::string domain;
  std::vector<TokenId> tokens;  // at least 2
};

struct WindowOptions {
  std::string text_field = "text";
  std::string domain_field = {};  // of JSONL rows: their domain; empty: that of the argument
  int64_t length = 0;             // tokens of a window, BOS included
  int64_t limit = 0;              // tokens of a domain; 0 = all
};

/// Reads the files, encodes them and cuts them. Throws Error{kCorrupt} for a row without the fields
/// or with bytes that are not UTF-8, naming file and line; kInvalidArgument when nothing is left.
std::vector<Window> ReadWindows(const std::vector<data::InputFile>& files,
                                const Tokenizer& tokenizer, const WindowOptions& options);
/// One text, for measurements that know no domains.
std::vector<Window> CutText(const std::string& text, const std::string& domain,
                            const Tokenizer& tokenizer, const WindowOptions& options);

/// Runs windows one after another. The engine's max_logit_rows must be kRows where losses are
/// wanted.
class TextRun {
 public:
  static constexpr int kRows = 256;  // of a step

  TextRun(Engine* engine, DType kv_type, int64_t window_length);
  /// policy, observer: nullptr = the model's own, nobody.
  void Route(const Window& window, const RoutingPolicy* policy, ForwardObserver* observer);
  /// Negative log-likelihood in nats of tokens[1..], each given all before it, summed.
  double Loss(const Window& window, const RoutingPolicy* policy);

 private:
  void Step(std::span<const TokenId> tokens, int64_t start, const RoutingPolicy* policy,
            ForwardObserver* observer, WantLogits want);

  Engine* engine_;
  KvCache kv_;
  SeqId seq_;
  std::vector<float> logits_;  // [kRows, V]
  std::vector<int32_t> rows_;
};

}  // namespace mixtral::observatory
