// SPDX-License-Identifier: Apache-2.0
// The only place that knows tensor names, and that w1/w3/w2 mean gate/up/down (PAPER 1.7).
#pragma once

#include <cstdint>
#include <string>

namespace mixtral {

enum class NamingScheme : uint8_t { kHuggingFace, kMistral, kGguf };

enum class TensorRole : uint8_t {
  kEmbedding,  // [V, D]
  kFinalNorm,  // [D]
  kOutput,     // [V, D]; absent when tied
  kAttnNorm,   // [D] and the following per layer
  kQ,
  kK,
  kV,
  kO,
  kFfnNorm,
  kRouter,      // [E, D]
  kExpertGate,  // [F, D] per expert, or the dense FFN's
  kExpertUp,
  kExpertDown,  // [D, F]
};

/// Name of a tensor in a scheme. layer and expert are ignored where the role has none; expert -1 =
/// the dense FFN's matrix. GGUF: expert >= 0 gives the old split name (blk.N.ffn_gate.E.weight);
/// MergedExpertsName gives today's.
std::string TensorName(NamingScheme scheme, TensorRole role, int layer = 0, int expert = -1);
/// blk.N.ffn_{gate,up,down}_exps.weight, [E, F, D] or [E, D, F].
std::string MergedExpertsName(TensorRole role, int layer);

}  // namespace mixtral
