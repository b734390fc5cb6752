// SPDX-License-Identifier: Apache-2.0
// One attention tile: queries of one key/value head against 64 cached positions, with a running
// softmax. Included inside an ISA's anonymous namespace after dot.inl.h and exp.inl.h.
//
// SHAPES      q [n_q, head_dim] scaled; k, v [64, head_dim]; maximum, denominator [n_q];
//             acc [n_q, head_dim]
// DEFINITION  per query, over positions first <= p < last of the tile:
//             s_p = 16-lane dot(k_p, q); m' = max(m, max s_p); c = exp(m - m'); w_p = exp(s_p - m')
//             denominator = denominator * c + sum of w_p (position p in lane p mod 8, then
//             ReduceAdd); acc = fma(v_p, w_p, ...) from acc * c in ascending p
// ASSUMES     nothing outside [first, last) is read; a query whose scores are all -inf keeps its
//             state. Queries do not meet, so a query's result does not depend on its neighbours.
// EXAMPLE     8x7B: 4 queries (one GQA group) x 1 token, head_dim 128
#pragma once

#include "kernels/generic/dot.inl.h"
#include "kernels/generic/exp.inl.h"

/// scores[p] for p in [first, last)
template <class Elements>
inline void Scores(const float* q, const std::byte* k, int head_dim, int first, int last,
                   float* scores) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * Elements::kBytes;
  DotLanes lanes[4];
  int p = first;
  for (; p + 4 <= last; p += 4) {
    for (int j = 0; j < 4; ++j) lanes[j] = ZeroLanes();
    AccumulateRows<Elements, 4>(k + static_cast<size_t>(p) * row_bytes, row_bytes, q, head_dim,
                                lanes);
    for (int j = 0; j < 4; ++j) scores[p + j] = Sum(lanes[j]);
  }
  for (; p < last; ++p) {
    lanes[0] = ZeroLanes();
    AccumulateRows<Elements, 1>(k + static_cast<size_t>(p) * row_bytes, row_bytes, q, head_dim,
                                lanes);
    scores[p] = Sum(lanes[0]);
  }
}

/// 8 * kVecs elements of acc from column column.
template <class Elements, int kVecs>
inline void AccumulateValues(const std::byte* v, int head_dim, int column, int first, int last,
                             const float* weights, float correction, float* acc) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * Elements::kBytes;
  const std::byte* p =
      v + static_cast<size_t>(first) * row_bytes + static_cast<size_t>(column) * Elements::kBytes;
  Vec sums[kVecs];
  for (int i = 0; i < kVecs; ++i) sums[i] = Mul(Load(acc + column + i * 8), Set1(correction));
  for (int position = first; position < last; ++position, p += row_bytes) {
    const Vec weight = Set1(weights[position]);
    for (int i = 0; i < kVecs; ++i) {
      const auto offset = static_cast<size_t>(i) * 8 * Elements::kBytes;
      sums[i] = Fma(Elements::Load8(p + offset), weight, sums[i]);
    }
  }
  for (int i = 0; i < kVecs; ++i) Store(acc + column + i * 8, sums[i]);
}

/// The last 0 < n < 8 elements of acc.
template <class Elements>
inline void AccumulateLastValues(const std::byte* v, int head_dim, int n, int first, int last,
                                 const float* weights, float correction, float* acc) {
  const size_t row_bytes = static_cast<size_t>(head_dim) * Elements::kBytes;
  const int column = head_dim - n;
  const std::byte* p =
      v + static_cast<size_t>(first) * row_bytes + static_cast<size_t>(column) * Elements::kBytes;
  Vec sum = Mul(LoadN(acc + column, n), Set1(correction));
  for (int position = first; position < last; ++position, p += row_bytes)
    sum = Fma(Elements::LoadFirst(p, n), Set1(weights[position]), sum);
  StoreN(acc + column, sum, n);
}

inline float ExpOne(float x) {
  float lanes[kLanes];
  Store(lanes, Exp(Set1(x)));
  return lanes[0];
}

/// scores -> weights in place; updates maximum and denominator, returns the correction of acc.
/// begin and end are first and last rounded outwards to whole vectors, -inf in between.
inline float Softmax(float* scores, int begin, int end, float* maximum, float* denominator) {
  Vec highest = Load(scores + begin);
  for (int p = begin + kLanes; p < end; p += kLanes) highest = Max(Load(scores + p), highest);
  const float tile_maximum = ReduceMax(highest);
  const float before = *maximum;
  const float now = tile_maximum > before ? tile_maximum : before;
  if (now == -__builtin_inff()) return -1.0f;  // nothing but -inf: no weight at all
  Vec sum = Zero();
  for (int p = begin; p < end; p += kLanes) {
    const Vec weight = Exp(Sub(Load(scores + p), Set1(now)));
    Store(scores + p, weight);
    sum = Add(sum, weight);
  }
  const float correction = ExpOne(before - now);
  *maximum = now;
  *denominator = *denominator * correction + ReduceAdd(sum);
  return correction;
}

template <class Elements>
void AttendTile(const AttendTileArgs& args) noexcept {
  alignas(64) float scores[kKvTile];
  const auto* k = static_cast<const std::byte*>(args.k);
  const auto* v = static_cast<const std::byte*>(args.v);
  for (int i = 0; i < args.n_q; ++i) {
    const int first = args.first[i], last = args.last[i], head_dim = args.head_dim;
    if (first >= last) continue;
    const int begin = first / kLanes * kLanes, end = (last + kLanes - 1) / kLanes * kLanes;
    for (int p = begin; p < first; ++p) scores[p] = -__builtin_inff();
    for (int p = last; p < end; ++p) scores[p] = -__builtin_inff();
    Scores<Elements>(args.q + i * head_dim, k, head_dim, first, last, scores);
    const float correction = Softmax(scores, begin, end, args.maximum + i, args.denominator + i);
    if (correction < 0) continue;
    float* acc = args.acc + i * head_dim;
    int column = 0;
    for (; column + 64 <= head_dim; column += 64)
      AccumulateValues<Elements, 8>(v, head_dim, column, first, last, scores, correction, acc);
    for (; column + 8 <= head_dim; column += 8)
      AccumulateValues<Elements, 1>(v, head_dim, column, first, last, scores, correction, acc);
    if (column < head_dim)
      AccumulateLastValues<Elements>(v, head_dim, head_dim - column, first, last, scores,
                                     correction, acc);
  }
}
