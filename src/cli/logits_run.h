// SPDX-License-Identifier: Apache-2.0
// The computing half of `logits`: prompts through the model chunk by chunk, and a record of what
// the routers chose.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "io/safetensors.h"

namespace mixtral::cli {

inline constexpr int kLogitsChunk = 256;  // rows of one step; V x 4 bytes of logits each

/// Keeps what the routers of all layers saw and chose for one prompt.
class RoutingRecord final : public ForwardObserver {
 public:
  RoutingRecord(const ModelConfig& config, size_t n_tokens);
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  /// Appends router logits, expert ids and expert weights.
  void WriteTo(SafetensorsWriter& writer) const;

 private:
  size_t n_tokens_, n_experts_, k_;
  std::vector<float> logits_;   // [L, T, E]
  std::vector<int32_t> ids_;    // [L, T, k]
  std::vector<float> weights_;  // [L, T, k]
};

/// Computes prompts one after the other; engine was made for kLogitsChunk rows and logit rows.
class LogitsRun {
 public:
  LogitsRun(Engine* engine, DType kv_type, int64_t longest_prompt);
  /// Appends the logits [T, V] of prompt. on_chunk gets the tokens of each step; false from it
  /// ends the run, and then Forward gives false.
  bool Forward(std::span<const TokenId> prompt, SafetensorsWriter& writer,
               ForwardObserver* observer, const std::function<bool(int64_t n_tokens)>& on_chunk);

 private:
  Engine* engine_;
  KvCache kv_;
  SeqId seq_;
  std::vector<float> logits_;  // [kLogitsChunk, V]
  std::vector<int32_t> rows_;  // 0, 1, 2, ...
};

}  // namespace mixtral::cli
