// SPDX-License-Identifier: Apache-2.0
// Sizes the scratch of the CPU operations: one pass counts, the second carves one arena.
#include "backend/cpu/workspace.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace mixtral::cpu {
namespace {

constexpr int kQueriesPerTask = 64;  // of one GQA group: enough to reuse a tile of K and V
constexpr int kMaxRowsPerTask = 16;

/// Largest packed tile over all weight types that can have this many columns.
size_t LargestTile(const kernels::KernelTable& kernels, int cols) {
  size_t largest = 0;
  for (const auto& slots_of_types : kernels.matrix)
    for (size_t t = 0; t < slots_of_types.size(); ++t)
      if (cols % kDTypeInfo[t].block_elements == 0)
        largest = std::max(largest, slots_of_types[t].tile_bytes(cols));
  return largest;
}

}  // namespace

/// Hands out pieces of an arena, or only adds up their sizes when there is none yet.
class Workspace::Carver {
 public:
  explicit Carver(Arena* arena) : arena_(arena) {}

  template <class T>
  void Take(T** piece, size_t a, size_t b = 1) {
    size_t count = 0, bytes = 0;
    if (__builtin_mul_overflow(a, b, &count) || __builtin_mul_overflow(count, sizeof(T), &bytes) ||
        bytes > std::numeric_limits<size_t>::max() / 2 - total_)
      Throw(ErrorCode::kOutOfMemory,
            "scratch memory: expected sizes that fit memory, found {} x {} x {} bytes", a, b,
            sizeof(T));
    total_ += AlignUp(bytes);
    if (arena_ != nullptr) *piece = arena_->Alloc<T>(count);
  }
  size_t total() const { return total_; }

 private:
  Arena* arena_;
  size_t total_ = 0;
};

Workspace::Workspace(const BackendSetup& setup, int n_threads, const kernels::KernelTable& kernels)
    : max_rows(setup.max_batch_tokens),
      max_slots(std::max(setup.max_slots, setup.max_batch_tokens)),
      routing(setup.max_batch_tokens, setup.max_k, setup.n_experts) {
  Check(setup.max_batch_tokens > 0 && setup.dim > 0 && setup.ffn_dim > 0 && n_threads > 0,
        "Prepare: a batch and a model");
  Check(setup.n_kv_heads > 0 && setup.n_heads % setup.n_kv_heads == 0 && setup.head_dim > 0 &&
            setup.head_dim % 2 == 0,
        "Prepare: heads");
  const int group = setup.n_heads / setup.n_kv_heads;
  rows_per_query_tile = std::clamp(kQueriesPerTask / group, 1, kMaxRowsPerTask);
  for (const int cols : {setup.dim, setup.ffn_dim, setup.n_heads * setup.head_dim})
    tile_bytes = std::max(tile_bytes, LargestTile(kernels, cols));
  const int widest = std::max(setup.dim, setup.n_heads * setup.head_dim);
  for (size_t form = 0; form < kNumForms; ++form)
    act_bytes[form] = LayoutOf(static_cast<kernels::ActForm>(form), widest).row_bytes;
  h_stride = static_cast<int64_t>(AlignUp(static_cast<size_t>(setup.ffn_dim), 16));
  h_act_stride = std::max(LayoutOf(kernels::ActForm::kBlocks32, setup.ffn_dim).row_bytes,
                          LayoutOf(kernels::ActForm::kBlocks256, setup.ffn_dim).row_bytes);
  for (int j = 0; j < setup.head_dim / 2; ++j)
    inv_freq.push_back(std::pow(static_cast<double>(setup.rope_theta), -2.0 * j / setup.head_dim));
  const size_t n_experts = static_cast<size_t>(std::max(setup.n_experts, 1));
  leases.resize(n_experts);
  expert_jobs.resize(n_experts);
  jobs.resize(std::max({static_cast<size_t>(kMaxMatrices), n_experts,
                        static_cast<size_t>(max_rows / kSlotChunk + 1)}));
  workers.resize(static_cast<size_t>(n_threads));

  Carver counter(nullptr);
  Carve(setup, &counter);
  arena_.emplace(counter.total());
  Carver carver(&*arena_);
  Carve(setup, &carver);
}

void Workspace::Carve(const BackendSetup& setup, Carver* carver) {
  const auto rows = static_cast<size_t>(max_rows), slots = static_cast<size_t>(max_slots);
  const auto head_dim = static_cast<size_t>(setup.head_dim);
  const auto group = static_cast<size_t>(setup.n_heads / setup.n_kv_heads);
  for (size_t form = 0; form < kNumForms; ++form) carver->Take(&acts[form], rows, act_bytes[form]);
  carver->Take(&cos, rows, head_dim / 2);
  carver->Take(&sin, rows, head_dim / 2);
  carver->Take(&positions, rows);
  carver->Take(&row_range, rows);
  carver->Take(&task_start, rows + 1);
  carver->Take(&h, slots, static_cast<size_t>(h_stride));
  carver->Take(&h_acts, slots, h_act_stride);
  carver->Take(&y, slots, static_cast<size_t>(setup.dim));
  carver->Take(&token_of, slots);
  carver->Take(&position_of, slots);
  carver->Take(&active, leases.size());
  const size_t n_q = static_cast<size_t>(rows_per_query_tile) * group;
  for (WorkerScratch& worker : workers) {
    for (std::byte*& tile : worker.tile) carver->Take(&tile, tile_bytes);
    carver->Take(&worker.gate, size_t{kSlotChunk} * kernels::kTileRows);
    carver->Take(&worker.up, size_t{kSlotChunk} * kernels::kTileRows);
    carver->Take(&worker.rope, static_cast<size_t>(setup.n_heads), head_dim);
    carver->Take(&worker.q, n_q, head_dim);
    carver->Take(&worker.acc, n_q, head_dim);
    carver->Take(&worker.maximum, n_q);
    carver->Take(&worker.denominator, n_q);
    carver->Take(&worker.first, n_q);
    carver->Take(&worker.last, n_q);
  }
}

}  // namespace mixtral::cpu
