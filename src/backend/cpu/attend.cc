// SPDX-License-Identifier: Apache-2.0
// Rotary embedding with the cache write, and attention over the cache. A query's running softmax
// goes over the 64-position tiles of its sequence in ascending order and its state meets no other
// query, so pages, threads and query grouping change no bit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/ops.h"
#include "base/check.h"

namespace mixtral::cpu {
namespace {

using kernels::kKvTile;

/// cos and sin of every row's position; layers after the first find them ready.
void FillRotations(Context& context, std::span<const int64_t> positions) {
  Workspace& work = *context.work;
  const auto n = static_cast<int64_t>(positions.size());
  if (work.n_positions == n && std::equal(positions.begin(), positions.end(), work.positions))
    return;
  std::copy(positions.begin(), positions.end(), work.positions);
  work.n_positions = n;
  const auto half = static_cast<int64_t>(work.inv_freq.size());
  ForRows(context, n, half * 32, [&](int64_t begin, int64_t end, int) noexcept {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < half; ++j) {
        const double angle =
            static_cast<double>(work.positions[t]) * work.inv_freq[static_cast<size_t>(j)];
        work.cos[t * half + j] = static_cast<float>(std::cos(angle));
        work.sin[t * half + j] = static_cast<float>(std::sin(angle));
      }
  });
}

void CheckRanges(const Context& context, std::span<const RowRange> ranges,
                 std::span<const KvView> views, int64_t rows) {
  Check(context.work.has_value() && rows <= context.work->max_rows, "attention: batch as sized");
  Check(ranges.size() == views.size() && static_cast<int64_t>(ranges.size()) <= rows,
        "attention: one view per range");
  for (const KvView& view : views)
    Check(view.n_kv_heads == context.setup.n_kv_heads && view.head_dim == context.setup.head_dim &&
              view.page_positions % kKvTile == 0 &&
              (view.dtype == DType::kF32 || view.dtype == DType::kF16),
          "attention: cache layout");
}

struct StoreTask {
  Activation q, k, v;
  std::span<const RowRange> ranges;
  std::span<const KvView> views;
};

void StoreRow(Context& context, const StoreTask& args, int64_t row, float* scratch) noexcept {
  const Workspace& work = *context.work;
  const BackendSetup& setup = context.setup;
  const int64_t half = setup.head_dim / 2;
  const auto range_idx = static_cast<size_t>(work.row_range[row]);
  const KvView& view = args.views[range_idx];
  const int64_t position = args.ranges[range_idx].start + (row - args.ranges[range_idx].first_row);
  kernels::RopeArgs rope{.x = args.q.Row(row),
                         .cos = work.cos + row * half,
                         .sin = work.sin + row * half,
                         .layout = setup.rope_order == RopeOrder::kHalf
                                       ? kernels::RopeLayout::kHalf
                                       : kernels::RopeLayout::kInterleaved,
                         .n_heads = setup.n_heads,
                         .head_dim = setup.head_dim,
                         .scale = 1.0f / std::sqrt(static_cast<float>(setup.head_dim)),
                         .out = scratch};
  context.kernels->rope.fn(rope);
  std::memcpy(args.q.Row(row), scratch, static_cast<size_t>(args.q.cols) * sizeof(float));
  rope.x = args.k.Row(row);
  rope.n_heads = setup.n_kv_heads;
  rope.scale = 1.0f;
  context.kernels->rope.fn(rope);
  const auto from_f32 = context.kernels->from_f32[Index(view.dtype)].fn;
  for (int head = 0; head < setup.n_kv_heads; ++head) {
    const int64_t offset = int64_t{head} * setup.head_dim;
    from_f32(scratch + offset, setup.head_dim, view.Key(head, position));
    from_f32(args.v.Row(row) + offset, setup.head_dim, view.Value(head, position));
  }
}

/// Queries of one GQA group: n_rows consecutive rows of a range, all query heads of one kv head.
struct QueryTile {
  const KvView* view;
  int kv_head;
  int64_t first_row;  // in the batch
  int64_t start;      // position of first_row
  int n_rows;
};

/// The part of the KV tile at base that each query sees: [max(0, p - window + 1), p].
void SetVisible(const QueryTile& tile, int group, int64_t window, int64_t base,
                WorkerScratch& scratch) noexcept {
  for (int r = 0; r < tile.n_rows; ++r) {
    const int64_t position = tile.start + r;
    const int64_t oldest = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
    const auto first = static_cast<int32_t>(std::clamp<int64_t>(oldest - base, 0, kKvTile));
    const auto last = static_cast<int32_t>(std::clamp<int64_t>(position + 1 - base, 0, kKvTile));
    std::fill_n(scratch.first + r * group, group, first);
    std::fill_n(scratch.last + r * group, group, last);
  }
}

void AttendQueries(const Context& context, const AttendArgs& args, const QueryTile& tile,
                   WorkerScratch& scratch) noexcept {
  const int64_t head_dim = context.setup.head_dim;
  const int group = context.setup.n_heads / context.setup.n_kv_heads;
  const int n_q = tile.n_rows * group;
  const int64_t group_cols = group * head_dim;
  const int64_t first_col = tile.kv_head * group_cols;
  for (int r = 0; r < tile.n_rows; ++r)
    std::copy_n(args.q.Row(tile.first_row + r) + first_col, group_cols, scratch.q + r * group_cols);
  std::fill_n(scratch.acc, n_q * head_dim, 0.0f);
  std::fill_n(scratch.maximum, n_q, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.denominator, n_q, 0.0f);
  const int64_t window = args.sliding_window;
  const int64_t oldest = window > 0 ? std::max<int64_t>(0, tile.start - window + 1) : 0;
  const auto attend = context.kernels->attend_tile[Index(tile.view->dtype)].fn;
  for (int64_t base = oldest / kKvTile * kKvTile; base < tile.start + tile.n_rows;
       base += kKvTile) {
    SetVisible(tile, group, window, base, scratch);
    attend({.q = scratch.q,
            .n_q = n_q,
            .head_dim = static_cast<int>(head_dim),
            .k = tile.view->Key(tile.kv_head, base),
            .v = tile.view->Value(tile.kv_head, base),
            .first = scratch.first,
            .last = scratch.last,
            .maximum = scratch.maximum,
            .denominator = scratch.denominator,
            .acc = scratch.acc});
  }
  for (int i = 0; i < n_q; ++i) {
    float* out = args.out.Row(tile.first_row + i / group) + first_col + i % group * head_dim;
    for (int64_t j = 0; j < head_dim; ++j)
      out[j] = scratch.acc[i * head_dim + j] / scratch.denominator[i];
  }
}

}  // namespace

void RopeAndStore(Context& context, Activation q, Activation k, Activation v,
                  std::span<const int64_t> positions, std::span<const RowRange> ranges,
                  std::span<const KvView> views) {
  CheckRanges(context, ranges, views, q.rows);
  Check(positions.size() == static_cast<size_t>(q.rows), "RopeAndStore: one position per row");
  FillRotations(context, positions);
  int64_t covered = 0;
  for (size_t i = 0; i < ranges.size(); ++i) {
    Check(ranges[i].first_row == covered, "RopeAndStore: ranges in row order");
    covered += ranges[i].n_rows;
    Check(covered <= q.rows, "RopeAndStore: ranges inside the batch");
    std::fill_n(context.work->row_range + ranges[i].first_row, ranges[i].n_rows,
                static_cast<int32_t>(i));
  }
  Check(covered == q.rows, "RopeAndStore: ranges cover the batch");
  const StoreTask task{q, k, v, ranges, views};
  ForRows(context, q.rows, q.cols + k.cols + v.cols,
          [&](int64_t begin, int64_t end, int worker) noexcept {
            float* scratch = context.work->workers[static_cast<size_t>(worker)].rope;
            for (int64_t row = begin; row < end; ++row) StoreRow(context, task, row, scratch);
          });
}

void Attend(Context& context, const AttendArgs& args) {
  CheckRanges(context, args.ranges, args.views, args.q.rows);
  Workspace& work = *context.work;
  const int n_kv_heads = context.setup.n_kv_heads, tile_rows = work.rows_per_query_tile;
  int32_t* task_start = work.task_start;  // [n_ranges + 1]
  task_start[0] = 0;
  for (size_t i = 0; i < args.ranges.size(); ++i)
    task_start[i + 1] =
        task_start[i] + (args.ranges[i].n_rows + tile_rows - 1) / tile_rows * n_kv_heads;
  RunTasks(context, task_start[args.ranges.size()], [&](int task, int worker) noexcept {
    const int32_t* after = std::upper_bound(task_start, task_start + args.ranges.size() + 1, task);
    const auto i = static_cast<size_t>(after - task_start - 1);
    const RowRange& range = args.ranges[i];
    // The last rows see the most positions: they go first, so that no worker is left with them.
    const int query_tile = (task_start[i + 1] - 1 - task) / n_kv_heads;
    const int row = query_tile * tile_rows;
    const QueryTile tile{&args.views[i], (task - task_start[i]) % n_kv_heads, range.first_row + row,
                         range.start + row, std::min(tile_rows, range.n_rows - row)};
    AttendQueries(context, args, tile, work.workers[static_cast<size_t>(worker)]);
  });
}

}  // namespace mixtral::cpu
