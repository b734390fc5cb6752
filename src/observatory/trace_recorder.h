// SPDX-License-Identifier: Apache-2.0
// Watches the forward pass of one sequence and keeps its routing as a TraceSequence. Used by run,
// chat and `mixtral routing`; the server records through its service.
#pragma once

#include <string>

#include "model/observer.h"
#include "observatory/trace.h"

namespace mixtral::observatory {

/// A router's weight in 255ths.
uint8_t QuantizeWeight(float weight);

class TraceRecorder final : public ForwardObserver {
 public:
  explicit TraceRecorder(const TraceInfo& info) : info_(info) {}
  /// The batch holds one sequence, whose rows follow those before. Appends to memory that grows.
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  /// What was seen since the last call; no tokens: nothing.
  TraceSequence Take(const std::string& domain);

 private:
  TraceInfo info_;
  TraceSequence sequence_;
};

}  // namespace mixtral::observatory
