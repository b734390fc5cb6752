// SPDX-License-Identifier: Apache-2.0
// Eight floats in a register: the vocabulary in which generic/*.inl.h is written (scalar/vec.h has
// the same names). Included after target_begin.h, inside an anonymous namespace; the source
// includes <immintrin.h>, <cstring> and tensor/float_bits.h before.
#pragma once

using Vec = __m256;
constexpr int kLanes = 8;

alignas(64) constexpr int32_t kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
/// All bits of the first n lanes of eight.
inline __m256i FirstLanes(int n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + 8 - n));
}

/// Asks for the cache lines of n bytes at p, which need not be memory of ours.
inline void Prefetch(uintptr_t p, size_t n) {
  for (size_t i = 0; i < n; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T0);
}

inline Vec Set1(float x) { return _mm256_set1_ps(x); }
inline Vec Zero() { return _mm256_setzero_ps(); }
inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
/// The first n of eight; the others are 0 and not read.
inline Vec LoadN(const float* p, int n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void StoreN(float* p, Vec v, int n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }
inline Vec Add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
/// The greater one; b where either is NaN.
inline Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
/// The lesser one; b where either is NaN.
inline Vec Min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
/// To the nearest integer, ties to even.
inline Vec Round(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// 2^n for integers -126 <= n <= 127; anything for NaN.
inline Vec PowerOfTwo(Vec n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
/// ((0+4)+(2+6)) + ((1+5)+(3+7)): the tree of every reduction.
inline float ReduceAdd(Vec v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float ReduceMax(Vec v) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/// The element types that a dot product reads directly: byte size, eight, and the first n of eight.
struct F32Elements {
  static constexpr size_t kBytes = 4;
  static Vec Load8(const std::byte* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
  static Vec LoadFirst(const std::byte* p, int n) {
    return LoadN(reinterpret_cast<const float*>(p), n);
  }
};
/// The first n of eight 16-bit elements; the others are 0 and not read.
inline __m128i LoadFirst16(const std::byte* p, int n) {
  uint16_t buffer[8] = {};
  std::memcpy(buffer, p, static_cast<size_t>(n) * 2);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(buffer));
}
struct F16Elements {
  static constexpr size_t kBytes = 2;
  static Vec Load8(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Vec LoadFirst(const std::byte* p, int n) { return _mm256_cvtph_ps(LoadFirst16(p, n)); }
};
struct Bf16Elements {
  static constexpr size_t kBytes = 2;
  static Vec Widen(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static Vec Load8(const std::byte* p) {
    return Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Vec LoadFirst(const std::byte* p, int n) { return Widen(LoadFirst16(p, n)); }
};
