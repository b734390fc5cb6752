// SPDX-License-Identifier: Apache-2.0
// Batches of token lists as tensors, and the list of tensors that are trained. Small helpers that
// every kind of training and the tests share.
#pragma once

#include <cstdint>
#include <vector>

#include "train/model.h"
#include "train/optimizer.h"

namespace mixtral::train {

/// One document or a padded row. loss[t] != 0: the prediction of token t counts (t >= 1); empty:
/// all of them. n_padding: this many tokens at the end are padding, which no loss counts.
struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss;
  int64_t n_padding = 0;
  int64_t first_position = 0;
};

/// Rows are the sequences' tokens one after the other; a row's target is the token after it.
Batch MakeBatch(const std::vector<Sequence>& sequences);

/// Sums [S] of values [M], one value per row with a target, over the batch's S segments.
Tensor SumPerSegment(const Batch& batch, const Tensor& values);

enum class DecayRule : uint8_t {
  kEverything,  // as the goldens do
  kMatrices,    // not norms, not embeddings: what is usual
};
/// Every leaf that requires a gradient: weights under their name, adapters under NAME.lora_a and
/// _b.
std::vector<Trainable> Trainables(const Model& model, DecayRule rule);

/// Removes all gradients.
void ClearGradients(const std::vector<Trainable>& trainables);

}  // namespace mixtral::train
