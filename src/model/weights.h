// SPDX-License-Identifier: Apache-2.0
// All weights of a model outside its experts, as flat structs. Filled by loader.cc, read by
// transformer.cc.
#pragma once

#include <vector>

#include "tensor/view.h"

namespace mixtral {

struct LayerWeights {
  WeightRef attn_norm;  // [D] f32
  WeightRef q;          // [H*P, D]
  WeightRef k;          // [G*P, D]
  WeightRef v;          // [G*P, D]
  WeightRef o;          // [D, H*P]
  WeightRef ffn_norm;   // [D] f32
  WeightRef router;     // [E, D]; empty when dense. Experts live in the ExpertStore
};

struct Weights {
  WeightRef embedding;  // [V, D]
  std::vector<LayerWeights> layers;
  WeightRef final_norm;  // [D] f32
  WeightRef output;      // [V, D]; the embedding when tied

  /// fn(name, WeightRef) for every matrix and vector.
  template <class Fn>
  void ForEach(Fn&& fn) const {
    fn("embedding", embedding);
    for (const LayerWeights& layer : layers) {
      fn("attn_norm", layer.attn_norm);
      fn("q", layer.q);
      fn("k", layer.k);
      fn("v", layer.v);
      fn("o", layer.o);
      fn("ffn_norm", layer.ffn_norm);
      if (!layer.router.empty()) fn("router", layer.router);
    }
    fn("final_norm", final_norm);
    if (output.data != embedding.data) fn("output", output);
  }
};

}  // namespace mixtral
