// SPDX-License-Identifier: Apache-2.0
// All memory that the CPU operations use, sized once from the BackendSetup; the operations allocate
// nothing. Private to backend/cpu. Shapes: T rows of a step, S token-expert slots, D dim, F
// ffn_dim, H and G heads, P head_dim, C = max(D, H*P).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "base/arena.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "moe/expert_store.h"
#include "moe/routing.h"

namespace mixtral::cpu {

inline constexpr int kNumForms = 3;      // kernels::ActForm
inline constexpr int kSlotChunk = 64;    // slots that gate and up are held for at a time
inline constexpr int kMaxMatrices = 16;  // weights of one MatMul

/// One matrix product out = acts . weight^T, computed in tiles of 16 weight rows by any worker.
struct TileJob {
  WeightRef weight;  // [rows, cols]
  const kernels::MatrixSlots* slots = nullptr;
  const std::byte* acts = nullptr;    // activation rows in the form of slots
  size_t act_stride = 0;              // bytes between them
  const int32_t* act_rows = nullptr;  // [n_tokens] rows of acts; nullptr: 0, 1, 2, ...
  int n_tokens = 0;
  float* out = nullptr;  // [n_tokens, rows]
  int64_t out_stride = 0;
  int tiles_per_task = 1, first_task = 0;  // set by PlanTasks
};

/// One expert of a wave: positions [begin, begin + n) of the expert-ordered slots.
struct ExpertJob {
  TileJob gate, up;  // out unused: they meet in h
  int begin = 0;
  int tiles_per_task = 1, first_task = 0;
};

/// What one thread needs for itself.
struct WorkerScratch {
  std::array<std::byte*, 2> tile{};  // packed 16-row tiles
  float* gate = nullptr;             // [kSlotChunk, 16]
  float* up = nullptr;               // [kSlotChunk, 16]
  float* rope = nullptr;             // [max(H, G), P]
  float* q = nullptr;                // [n_q, P] queries of one attention task
  float* acc = nullptr;              // [n_q, P]
  float* maximum = nullptr;          // [n_q]
  float* denominator = nullptr;      // [n_q]
  int32_t* first = nullptr;          // [n_q]
  int32_t* last = nullptr;           // [n_q]
};

class Workspace {
 public:
  /// Throws Error{kOutOfMemory} naming the bytes, also where the sizes overflow.
  Workspace(const BackendSetup& setup, int n_threads, const kernels::KernelTable& kernels);

  int max_rows = 0, max_slots = 0;
  size_t tile_bytes = 0;                      // capacity of WorkerScratch::tile
  std::array<size_t, kNumForms> act_bytes{};  // capacity of an activation row of <= C columns
  std::array<std::byte*, kNumForms> acts{};   // [T] activation rows of at most C columns
  int rows_per_query_tile = 0;                // batch rows of one attention task

  // rope: cos and sin of the positions seen last, [T, P/2]
  std::vector<double> inv_freq;  // [P/2]
  float* cos = nullptr;
  float* sin = nullptr;
  int64_t* positions = nullptr;   // [T]
  int64_t n_positions = 0;        // how many rows of cos and sin are valid
  int32_t* row_range = nullptr;   // [T] index of the range that a row belongs to
  int32_t* task_start = nullptr;  // [T + 1] first attention task of a range

  // moe
  int64_t h_stride = 0;                // floats between rows of h; a multiple of 16
  float* h = nullptr;                  // [S, F] silu(gate) * up, slots ordered by expert
  size_t h_act_stride = 0;             // bytes between rows of h_acts
  std::byte* h_acts = nullptr;         // [S] activation rows of h
  float* y = nullptr;                  // [S, D] expert outputs, slots ordered by expert
  int32_t* token_of = nullptr;         // [S] token of a position in the expert order
  int32_t* position_of = nullptr;      // [S] position in the expert order of a slot t*K + k
  int32_t* active = nullptr;           // [E] experts of this step, ascending
  std::vector<ExpertLease> leases;     // [E]
  std::vector<ExpertJob> expert_jobs;  // [E]
  std::vector<TileJob> jobs;           // [max(kMaxMatrices, E, T / kSlotChunk + 1)]
  RoutingBuffer routing;

  std::vector<WorkerScratch> workers;

 private:
  class Carver;
  void Carve(const BackendSetup& setup, Carver* carver);

  std::optional<Arena> arena_;
};

/// What every operation is given.
struct Context {
  const kernels::KernelTable* kernels;
  kernels::Compute compute;
  ThreadPool pool;
  BackendSetup setup;
  std::optional<Workspace> work;  // filled by Prepare

  const kernels::MatrixSlots& Slots(DType dtype) const { return kernels->Matrix(compute, dtype); }
};

/// Runs fn(tile, worker) for all tiles; a single one without waking the team.
template <class Fn>
void RunTasks(Context& context, int n_tasks, Fn&& fn) {
  if (n_tasks == 1) {
    fn(0, 0);
  } else if (n_tasks > 1) {
    context.pool.Run(n_tasks, fn);
  }
}

/// Splits rows into tasks of about 16k elements: fn(first_row, end_row, worker).
template <class Fn>
void ForRows(Context& context, int64_t rows, int64_t cols, Fn&& fn) {
  const int64_t per_task = std::max<int64_t>(1, (int64_t{1} << 14) / std::max<int64_t>(cols, 1));
  const auto n_tasks = static_cast<int>((rows + per_task - 1) / per_task);
  RunTasks(context, n_tasks, [&](int task, int worker) noexcept {
    const int64_t begin = task * per_task;
    fn(begin, std::min(rows, begin + per_task), worker);
  });
}

}  // namespace mixtral::cpu
