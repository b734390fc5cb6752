// SPDX-License-Identifier: Apache-2.0
// One sequence's keys and values of one layer, as pages: what model/kv_cache hands to
// Backend::RopeAndStore and Attend.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace mixtral {

/// A page holds page_positions positions (a multiple of 64) of every kv head, in the order
/// [kv head][K, V][page_positions][head_dim]. Position p lies in page pages[p / page_positions].
struct KvView {
  DType dtype = DType::kF16;  // kF32 or kF16
  int page_positions = 64;
  int n_kv_heads = 0, head_dim = 0;
  const int32_t* pages =
      nullptr;  // page numbers of the sequence, enough for the batch's last position
  std::byte* layer_base = nullptr;  // page n of this layer starts at layer_base + n * page_bytes
  size_t page_bytes = 0;

  size_t RowBytesOf() const { return mixtral::RowBytes(dtype, head_dim); }
  std::byte* At(int kv_head, bool value, int64_t position) const {
    const auto page = static_cast<size_t>(pages[position / page_positions]);
    const auto in_page = static_cast<size_t>(position % page_positions);
    const auto plane = static_cast<size_t>(kv_head) * 2 + (value ? 1 : 0);
    return layer_base + page * page_bytes +
           (plane * static_cast<size_t>(page_positions) + in_page) * RowBytesOf();
  }
  std::byte* Key(int kv_head, int64_t position) const { return At(kv_head, false, position); }
  std::byte* Value(int kv_head, int64_t position) const { return At(kv_head, true, position); }
};

/// The rows of a batch that belong to one sequence: rows [first_row, first_row + n_rows) are its
/// positions [start, start + n_rows).
struct RowRange {
  int first_row = 0, n_rows = 0;
  int64_t start = 0;
};

}  // namespace mixtral
