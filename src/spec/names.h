// SPDX-License-Identifier: Apache-2.0
// The only place that knows tensor names, and that w1/w3/w2 mean gate/up/down (PAPER 1.7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
/// the dense FFN's matrix, expert >= 0 a tensor of that expert alone (in GGUF the old layout);
/// MergedExpertsOf gives the other layout, RouterNames the router's other name.
std::string TensorName(NamingScheme scheme, TensorRole role, int layer = 0, int expert = -1);

/// A tensor that holds one role's matrices of all experts of a layer: [E, n_parts * rows, cols],
/// where rows part * rows and following of an expert are this role's.
struct MergedExperts {
  std::string name;
  int n_parts = 1, part = 0;
};
/// GGUF: blk.N.ffn_{gate,up,down}_exps.weight. Hugging Face (transformers v5): gate_up_proj, gate
/// before up, and down_proj. nullopt: the scheme knows no such tensors.
std::optional<MergedExperts> MergedExpertsOf(NamingScheme scheme, TensorRole role, int layer);

/// Every name that the router of a layer may have; a checkpoint has one of them.
std::vector<std::string> RouterNames(NamingScheme scheme, int layer);

/// The tensor holds experts, one or all of a layer, told from its name.
bool IsExpertTensor(NamingScheme scheme, std::string_view name);

}  // namespace mixtral
