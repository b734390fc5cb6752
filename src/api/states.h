// SPDX-License-Identifier: Apache-2.0
// What the public handles hold, and the public routing types in the library's own words. Used by
// model.cc and session.cc only.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "mixtral/mixtral.h"
#include "model/observer.h"

namespace mixtral::api {

struct ModelState {
  ModelState(const std::string& path, const EngineOptions& options, Compute how)
      : engine(path, options), compute(how) {}

  Engine engine;
  ModelInfo info{};
  Compute compute;

  DType kv_dtype() const { return compute == Compute::kExact ? DType::kF32 : DType::kF16; }
};

struct SessionState {
  SessionState(ModelState* opened, const mixtral::SessionOptions& options)
      : model(opened), session(&opened->engine, options) {}

  ModelState* model;
  mixtral::Session session;
  std::atomic<bool> cancelled{false};
};

mixtral::RoutingPolicy ToInternal(const RoutingPolicy& policy);

/// Tells a caller's function what the routers choose.
class RoutingReporter : public ForwardObserver {
 public:
  explicit RoutingReporter(const RoutingObserver& on_routing) : on_routing_(on_routing) {}
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override;
  /// nullptr when the caller gave no function.
  ForwardObserver* observer() { return on_routing_ ? this : nullptr; }

 private:
  const RoutingObserver& on_routing_;
  std::vector<int32_t> ids_;    // [T, K] without gaps between rows
  std::vector<float> weights_;  // [T, K]
};

}  // namespace mixtral::api
