// SPDX-License-Identifier: Apache-2.0
// A look into the forward pass: routing displays, parity tests, debugging. Called on the forward
// thread, in layer order.
#pragma once

#include "model/batch.h"
#include "moe/routing.h"
#include "tensor/view.h"

namespace mixtral {

class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  /// The residual stream [T, D] after a layer; layer -1 is the embedding.
  virtual void OnLayer(int /*layer*/, const Batch& /*batch*/, Matrix<const float> /*residual*/) {}
  /// What the router of a layer saw and chose; logits [T, E]. Not called for dense models.
  virtual void OnRouting(int /*layer*/, const Batch& /*batch*/, const Routing& /*routing*/,
                         Matrix<const float> /*router_logits*/) {}
  /// False: OnLayer is not called, which saves a copy per layer on devices.
  virtual bool WantsLayers() const { return false; }
};

}  // namespace mixtral
