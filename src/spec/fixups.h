// SPDX-License-Identifier: Apache-2.0
// The only place that knows layout differences between checkpoints. So far one: the order of q and
// k rows in a head (PAPER 1.4), which the rope kernel undoes while it rotates, so that no weight is
// ever copied for it.
#pragma once

#include "spec/names.h"

namespace mixtral {

/// Hugging Face stores the two halves of every rotation pair P/2 rows apart; Mistral-native and
/// GGUF store them together.
constexpr bool HasHalfSplitRope(NamingScheme scheme) {
  return scheme == NamingScheme::kHuggingFace;
}

}  // namespace mixtral
