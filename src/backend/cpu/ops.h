// SPDX-License-Identifier: Apache-2.0
// The larger operations of the CPU backend as free functions over its Context; cpu_backend.cc is
// their only caller. Contracts: backend/backend.h.
#pragma once

#include <span>

#include "backend/backend.h"
#include "backend/cpu/workspace.h"

namespace mixtral::cpu {

// ---- matmul.cc ----
void MatMul(Context& context, std::span<const WeightRef> weights, Activation x,
            std::span<const Activation> outs);
/// Converts rows [first, first + n) of x into the activation form of slots, in context.work->acts;
/// all workers take part.
void QuantizeRows(Context& context, const kernels::MatrixSlots& slots, Activation x);
/// Fills weight, slots, acts, act_stride of a job whose activations QuantizeRows made.
TileJob JobOver(const Context& context, const WeightRef& weight, const kernels::MatrixSlots& slots);
/// Tiles of 16 rows that one task should take, when a tile of n_matrices matrices of this shape
/// meets n_tokens.
int TilesPerTask(const Context& context, const WeightRef& weight, int n_tokens, int n_matrices);
/// Computes all jobs as one list of tiles.
void RunJobs(Context& context, std::span<TileJob> jobs);

/// Tile number `tile` of a job: its rows, and whether it is worth packing.
struct TileView {
  int64_t first_row = 0;
  int n_rows = 0;
};
TileView ViewTile(const TileJob& job, int tile);
/// Packs the tile into packed, unless ApplyTile will read the file rows directly.
void LoadTile(const TileJob& job, const TileView& tile, std::byte* packed) noexcept;
/// out[t - first_token][r] for tokens [first_token, first_token + n_tokens) and the tile's rows.
void ApplyTile(const TileJob& job, const TileView& tile, const std::byte* packed, int first_token,
               int n_tokens, float* out, int64_t out_stride) noexcept;

// ---- attend.cc ----
void RopeAndStore(Context& context, Activation q, Activation k, Activation v,
                  std::span<const int64_t> positions, std::span<const RowRange> ranges,
                  std::span<const KvView> views);
void Attend(Context& context, const AttendArgs& args);

// ---- moe_ffn.cc ----
Routing MoeFfn(Context& context, const MoeFfnArgs& args);

}  // namespace mixtral::cpu
