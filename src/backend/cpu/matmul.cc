// SPDX-License-Identifier: Apache-2.0
// Matrix products as one list of 16-row tiles over all matrices of an operation. A tile belongs to
// one worker and one token's result never depends on the other tokens, so that threads and batches
// change no bit (gemm_tile and gemv_rows agree bitwise: kernels/kernel_table.h).
#include <algorithm>
#include <array>

#include "backend/cpu/ops.h"
#include "base/check.h"

namespace mixtral::cpu {
namespace {

/// A task of fewer products is lost in the task counter (some 10 us); a task of more runs through
/// so many file rows in sequence that prefetching across its end no longer matters.
constexpr int64_t kLeastMacsPerTask = int64_t{1} << 18, kMostMacsPerTask = int64_t{1} << 21;
constexpr int kTasksPerThread = 4;  // so that threads end together

/// From how many tokens on packing a tile pays; below, gemv_rows reads the file rows. One thread,
/// AVX2 kernels on an AMD EPYC (2026-11): e.g. F16 4096 x 4096 12 tokens 7.1 ms unpacked and 7.4 ms
/// packed; Q4_K 1024 x 4096 4 tokens 0.77 and 0.81, 5 tokens 1.03 and 0.94 ms. A single token never
/// packs: that would read a tile more than the file rows.
constexpr int PackFromTokens(DType dtype) {
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16:
      return 16;
    case DType::kF32:
    case DType::kQ8_0:
      return 8;
    case DType::kQ4_K:
    case DType::kQ5_K:  // their gemv_rows decodes once for up to four tokens
      return 5;
    case DType::kQ6_K:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return 3;
    default:
      return 2;
  }
}
/// Blocks that are expanded to f32 (exact mode): expanding costs more than any product.
constexpr int kPackExpandedFromTokens = 2;

bool IsPacked(const TileJob& job) {
  const DType dtype = job.weight.dtype;
  const bool expanded =
      Info(dtype).block_elements > 1 && job.slots->act_form == kernels::ActForm::kF32;
  return job.n_tokens >= (expanded ? kPackExpandedFromTokens : PackFromTokens(dtype));
}

int TaskCount(const TileJob& job) {
  const auto tiles =
      static_cast<int>((job.weight.rows + kernels::kTileRows - 1) / kernels::kTileRows);
  return (tiles + job.tiles_per_task - 1) / job.tiles_per_task;
}

void RunOneTask(const TileJob& job, int task, std::byte* packed) noexcept {
  const int n_tiles =
      static_cast<int>((job.weight.rows + kernels::kTileRows - 1) / kernels::kTileRows);
  const int begin = task * job.tiles_per_task;
  const int end = std::min(n_tiles, begin + job.tiles_per_task);
  for (int t = begin; t < end; ++t) {
    const TileView tile = ViewTile(job, t);
    LoadTile(job, tile, packed);
    ApplyTile(job, tile, packed, 0, job.n_tokens, job.out + tile.first_row, job.out_stride);
  }
}

void MatMulRows(Context& context, std::span<const WeightRef> weights, Activation x,
                std::span<const Activation> outs, int64_t first_row) {
  std::array<bool, kNumForms> have{};
  const std::span<TileJob> jobs = std::span(context.work->jobs).first(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const kernels::MatrixSlots& slots = context.Slots(weights[i].dtype);
    const auto form = static_cast<size_t>(slots.act_form);
    if (!have[form]) QuantizeRows(context, slots, x);
    have[form] = true;
    jobs[i] = JobOver(context, weights[i], slots);
    jobs[i].n_tokens = static_cast<int>(x.rows);
    jobs[i].out = outs[i].Row(first_row);
    jobs[i].out_stride = outs[i].stride;
  }
  RunJobs(context, jobs);
}

}  // namespace

void MatMul(Context& context, std::span<const WeightRef> weights, Activation x,
            std::span<const Activation> outs) {
  Check(context.work.has_value(), "MatMul: after Prepare");
  Check(weights.size() == outs.size() && weights.size() <= kMaxMatrices, "MatMul: outputs");
  for (size_t i = 0; i < weights.size(); ++i)
    Check(weights[i].cols == x.cols && outs[i].rows == x.rows && outs[i].cols == weights[i].rows,
          "MatMul: shapes");
  for (int64_t first = 0; first < x.rows; first += context.work->max_rows) {
    const int64_t n = std::min<int64_t>(context.work->max_rows, x.rows - first);
    MatMulRows(context, weights, {x.Row(first), n, x.cols, x.stride}, outs, first);
  }
}

void QuantizeRows(Context& context, const kernels::MatrixSlots& slots, Activation x) {
  const auto form = static_cast<size_t>(slots.act_form);
  const size_t row_bytes = LayoutOf(slots.act_form, x.cols).row_bytes;
  Check(row_bytes <= context.work->act_bytes[form] && x.rows <= context.work->max_rows,
        "activations: as sized");
  std::byte* acts = context.work->acts[form];
  ForRows(context, x.rows, x.cols, [&](int64_t begin, int64_t end, int) noexcept {
    slots.quantize_rows.fn({.x = x.Row(begin),
                            .x_stride = x.stride,
                            .out = acts + static_cast<size_t>(begin) * row_bytes,
                            .n_rows = static_cast<int>(end - begin),
                            .cols = static_cast<int>(x.cols)});
  });
}

TileJob JobOver(const Context& context, const WeightRef& weight,
                const kernels::MatrixSlots& slots) {
  Check(slots.tile_bytes(static_cast<int>(weight.cols)) <= context.work->tile_bytes,
        "matrix: a width that Prepare was told");
  TileJob job;
  job.weight = weight;
  job.slots = &slots;
  job.acts = context.work->acts[static_cast<size_t>(slots.act_form)];
  job.act_stride = LayoutOf(slots.act_form, weight.cols).row_bytes;
  return job;
}

int TilesPerTask(const Context& context, const WeightRef& weight, int n_tokens, int n_matrices) {
  const int64_t macs =
      std::max<int64_t>(kernels::kTileRows * weight.cols * std::max(n_tokens, 1) * n_matrices, 1);
  const int64_t n_tiles = (weight.rows + kernels::kTileRows - 1) / kernels::kTileRows;
  const int64_t fair = n_tiles / (kTasksPerThread * context.pool.n_threads());
  const int64_t tiles = std::max(std::min(fair, kMostMacsPerTask / macs), kLeastMacsPerTask / macs);
  return static_cast<int>(std::clamp<int64_t>(tiles, 1, std::max<int64_t>(n_tiles, 1)));
}

void RunJobs(Context& context, std::span<TileJob> jobs) {
  int n_tasks = 0;
  for (TileJob& job : jobs) {
    job.tiles_per_task = TilesPerTask(context, job.weight, job.n_tokens, 1);
    job.first_task = n_tasks;
    n_tasks += TaskCount(job);
  }
  RunTasks(context, n_tasks, [&](int task, int worker) noexcept {
    const auto after =
        std::upper_bound(jobs.begin(), jobs.end(), task,
                         [](int t, const TileJob& job) { return t < job.first_task; });
    const TileJob& job = *(after - 1);
    RunOneTask(job, task - job.first_task,
               context.work->workers[static_cast<size_t>(worker)].tile[0]);
  });
}

TileView ViewTile(const TileJob& job, int tile) {
  const int64_t first = int64_t{tile} * kernels::kTileRows;
  return {first, static_cast<int>(std::min<int64_t>(kernels::kTileRows, job.weight.rows - first))};
}

void LoadTile(const TileJob& job, const TileView& tile, std::byte* packed) noexcept {
  if (!IsPacked(job)) return;
  const auto* rows = static_cast<const std::byte*>(job.weight.data) +
                     static_cast<size_t>(tile.first_row) * job.weight.row_bytes;
  job.slots->pack_tile.fn({.weights = rows,
                           .row_bytes = job.weight.row_bytes,
                           .n_rows = tile.n_rows,
                           .cols = static_cast<int>(job.weight.cols),
                           .tile = packed});
}

void ApplyTile(const TileJob& job, const TileView& tile, const std::byte* packed, int first_token,
               int n_tokens, float* out, int64_t out_stride) noexcept {
  const auto cols = static_cast<int>(job.weight.cols);
  const int32_t* act_rows = job.act_rows == nullptr ? nullptr : job.act_rows + first_token;
  const std::byte* acts =
      act_rows != nullptr ? job.acts : job.acts + static_cast<size_t>(first_token) * job.act_stride;
  if (IsPacked(job)) {
    job.slots->gemm_tile.fn({.tile = packed,
                             .n_rows = tile.n_rows,
                             .cols = cols,
                             .acts = acts,
                             .act_stride = job.act_stride,
                             .act_rows = act_rows,
                             .n_tokens = n_tokens,
                             .out = out,
                             .out_stride = out_stride});
    return;
  }
  const auto* rows = static_cast<const std::byte*>(job.weight.data) +
                     static_cast<size_t>(tile.first_row) * job.weight.row_bytes;
  job.slots->gemv_rows.fn({.weights = rows,
                           .row_bytes = job.weight.row_bytes,
                           .n_rows = tile.n_rows,
                           .cols = cols,
                           .act = acts,
                           .out = out,
                           .n_tokens = n_tokens,
                           .act_stride = job.act_stride,
                           .act_rows = act_rows,
                           .out_stride = out_stride});
}

}  // namespace mixtral::cpu
