// SPDX-License-Identifier: Apache-2.0
// Eight floats without intrinsics: the vocabulary in which generic/*.inl.h is written. avx2/vec.h
// has the same names. Included once by a scalar/*.cc, before generic/*.inl.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/float_bits.h"

namespace mixtral::kernels::scalar {
namespace {

struct Vec {
  float lane[8];
};
constexpr int kLanes = 8;

inline void Prefetch(uintptr_t, size_t) {}  // arithmetic is the bottleneck here

inline Vec Set1(float x) { return {{x, x, x, x, x, x, x, x}}; }
inline Vec Zero() { return Set1(0.0f); }
inline Vec Load(const float* p) {
  Vec v;
  for (int i = 0; i < kLanes; ++i) v.lane[i] = LoadUnaligned<float>(p + i);
  return v;
}
/// The first n of eight; the others are 0 and not read.
inline Vec LoadN(const float* p, int n) {
  Vec v = Zero();
  for (int i = 0; i < n; ++i) v.lane[i] = LoadUnaligned<float>(p + i);
  return v;
}
inline void Store(float* p, Vec v) {
  for (int i = 0; i < kLanes; ++i) p[i] = v.lane[i];
}
inline void StoreN(float* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v.lane[i];
}
inline Vec Add(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
  return a;
}
inline Vec Sub(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] -= b.lane[i];
  return a;
}
inline Vec Mul(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] *= b.lane[i];
  return a;
}
inline Vec Div(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] /= b.lane[i];
  return a;
}
/// a * b + c, rounded twice here (a fused one is a library call on this ISA) and once in avx2.
inline Vec Fma(Vec a, Vec b, Vec c) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] * b.lane[i] + c.lane[i];
  return a;
}
/// The greater one; b where either is NaN, as vmaxps has it.
inline Vec Max(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}
/// The lesser one; b where either is NaN.
inline Vec Min(Vec a, Vec b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}
/// To the nearest integer, ties to even; |x| < 2^22 (adding 1.5 * 2^23 leaves no fraction bits).
inline Vec Round(Vec a) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] = (a.lane[i] + 0x1.8p23f) - 0x1.8p23f;
  return a;
}
/// 2^n for integers -126 <= n <= 127; anything for NaN.
inline Vec PowerOfTwo(Vec n) {
  for (int i = 0; i < kLanes; ++i) {
    const auto biased = std::bit_cast<uint32_t>(n.lane[i] + (0x1.8p23f + 127.0f));
    n.lane[i] = std::bit_cast<float>(biased << 23);
  }
  return n;
}
/// ((0+4)+(2+6)) + ((1+5)+(3+7)): the tree of every reduction.
inline float ReduceAdd(Vec v) {
  const float* l = v.lane;
  return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}
inline float ReduceMax(Vec v) {
  float m = v.lane[0];
  for (int i = 1; i < kLanes; ++i) m = m > v.lane[i] ? m : v.lane[i];
  return m;
}

/// The element types that a dot product reads directly: byte size, eight, and the first n of eight.
struct F32Elements {
  static constexpr size_t kBytes = 4;
  static Vec Load8(const std::byte* p) { return LoadFirst(p, 8); }
  static Vec LoadFirst(const std::byte* p, int n) {
    Vec v = Zero();
    for (int i = 0; i < n; ++i) v.lane[i] = LoadUnaligned<float>(p + i * 4);
    return v;
  }
};
struct F16Elements {
  static constexpr size_t kBytes = 2;
  static Vec Load8(const std::byte* p) { return LoadFirst(p, 8); }
  static Vec LoadFirst(const std::byte* p, int n) {
    Vec v = Zero();
    for (int i = 0; i < n; ++i) v.lane[i] = F16ToF32(LoadUnaligned<uint16_t>(p + i * 2));
    return v;
  }
};
struct Bf16Elements {
  static constexpr size_t kBytes = 2;
  static Vec Load8(const std::byte* p) { return LoadFirst(p, 8); }
  static Vec LoadFirst(const std::byte* p, int n) {
    Vec v = Zero();
    for (int i = 0; i < n; ++i) v.lane[i] = Bf16ToF32(LoadUnaligned<uint16_t>(p + i * 2));
    return v;
  }
};

}  // namespace
}  // namespace mixtral::kernels::scalar
