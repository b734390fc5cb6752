// SPDX-License-Identifier: Apache-2.0
// Causal attention of documents that lie one after the other, and the rotation of queries and keys.
// Scores are made block by block and made again in the backward pass, so memory is linear in tokens
// at any length. Called by model.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "train/torch.h"

namespace mixtral::train {

/// A stretch of rows that see each other, and nothing else: a document or a padded row of a batch.
struct Segment {
  int64_t begin = 0, length = 0;
  int64_t first_position = 0;  // of its first token, for the rotation
};

/// Cosines and sines [N, 1, P/2] f32 of every row's position, computed in f64.
struct RopeTables {
  Tensor cos, sin;
};
RopeTables MakeRopeTables(const std::vector<Segment>& segments, int head_dim, double theta);
/// x [N, heads, P] in Hugging Face's row order (halves).
Tensor ApplyRope(const Tensor& x, const RopeTables& tables);

/// q [N, H, P], k and v [N, G, P], f32; query head h reads key head h / (H/G). -> [N, H, P]. Rows
/// outside every segment come out as zeros.
Tensor CausalAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                       const std::vector<Segment>& segments);

}  // namespace mixtral::train
