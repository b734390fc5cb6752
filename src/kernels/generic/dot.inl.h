// SPDX-License-Identifier: Apache-2.0
// The 16-lane dot product that f32 arithmetic is made of. Included inside an ISA's anonymous
// namespace after its vec.h; the order of additions is part of the arithmetic contract.
//
// DEFINITION  lane[i mod 16] = fma(w[i], x[i], lane[i mod 16]) for ascending i, from 0; a tail of
//             fewer than 16 elements is filled up with zeros; then lane[i] + lane[i + 8], then
//             ReduceAdd.
// ASSUMES     w at any alignment (typed by its element struct), x any float pointer
#pragma once

struct DotLanes {
  Vec low, high;  // lanes 0..7, 8..15
};
inline DotLanes ZeroLanes() { return {Zero(), Zero()}; }
inline float Sum(const DotLanes& lanes) { return ReduceAdd(Add(lanes.low, lanes.high)); }

/// The last 0 < n < 16 elements. The upper half is left alone for n <= 8, in every caller.
template <class Elements>
inline void AccumulateTail(const std::byte* w, const float* x, int n, DotLanes& lanes) {
  const int n_low = n < 8 ? n : 8;
  lanes.low = Fma(Elements::LoadFirst(w, n_low), LoadN(x, n_low), lanes.low);
  if (n > 8)
    lanes.high =
        Fma(Elements::LoadFirst(w + 8 * Elements::kBytes, n - 8), LoadN(x + 8, n - 8), lanes.high);
}

/// kRows rows of n elements, row_bytes apart, with one x[n]; keeping several rows in flight hides
/// the latency of the fused multiply-add.
template <class Elements, int kRows>
inline void AccumulateRows(const std::byte* w, size_t row_bytes, const float* x, int n,
                           DotLanes* lanes) {
  DotLanes sums[kRows];
  for (int r = 0; r < kRows; ++r) sums[r] = lanes[r];
  int i = 0;
  for (; i + 16 <= n; i += 16) {
    const Vec x_low = Load(x + i), x_high = Load(x + i + 8);
    for (int r = 0; r < kRows; ++r) {
      const std::byte* p =
          w + static_cast<size_t>(r) * row_bytes + static_cast<size_t>(i) * Elements::kBytes;
      sums[r].low = Fma(Elements::Load8(p), x_low, sums[r].low);
      sums[r].high = Fma(Elements::Load8(p + 8 * Elements::kBytes), x_high, sums[r].high);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    if (i < n)
      AccumulateTail<Elements>(
          w + static_cast<size_t>(r) * row_bytes + static_cast<size_t>(i) * Elements::kBytes, x + i,
          n - i, sums[r]);
    lanes[r] = sums[r];
  }
}
