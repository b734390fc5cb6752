// SPDX-License-Identifier: Apache-2.0
// Which experts an answer used: counts for each layer, and the choices of the last steps. Used by
// `chat` for /routing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/observer.h"
#include "spec/config.h"
#include "text/tokenizer.h"

namespace mixtral::cli {

class RoutingRecorder final : public ForwardObserver {
 public:
  explicit RoutingRecorder(const ModelConfig& config);
  /// Forgets, and from now on looks at positions from first_position on: that of the prompt's last
  /// token, whose step chooses the answer's first one.
  void Begin(int64_t first_position);
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  /// For people; tokens: those that the recorded steps chose.
  std::string Report(std::span<const TokenId> tokens, const Tokenizer& tokenizer) const;

 private:
  static constexpr int64_t kLastSteps = 4;
  std::string Shares() const;
  std::string LastSteps(std::span<const TokenId> tokens, const Tokenizer& tokenizer) const;

  int n_layers_;
  size_t n_experts_;
  int64_t first_ = 0, n_steps_ = 0;
  std::vector<int64_t> counts_;    // [L, E]
  std::vector<std::string> last_;  // [kLastSteps, L], step % kLastSteps: "3,5"
};

}  // namespace mixtral::cli
