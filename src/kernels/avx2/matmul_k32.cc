// SPDX-License-Identifier: Apache-2.0
// AVX2 products of Q4_K and Q5_K: sub-blocks of 32 with minimums; bitwise the same as
// scalar/matmul_blocks.cc, which defines them.
//
// SHAPES      weights Q4_K or Q5_K [n_rows, cols], activations kBlocks256, out [n_tokens, n_rows];
//             tile TileK [cols / 256] of 16 rows
// DEFINITION  acc = 0; per block of 256, ascending, with sub-blocks j of 32:
//             S = sum_j sc_j * sum(w * q), M = sum_j m_j * sum(q), exact in int32;
//             acc = fma(d * d_x, float(S), acc); acc = fma(-(dmin * d_x), float(M), acc)
// ASSUMES     |q| <= 127. Exact because: one vpmaddubsw gives at most 2 * 15 * 127 = 3810, the
//             eight of a Q4_K sub-block 30480 < 2^15; with five bits 7874, four of them 31496;
//             times 63, in pairs, over eight sub-blocks 63 500 000 < 2^31.
// EXAMPLE     8x7B gate: 896 tiles of [16, 4096]; one tile is 80 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q4_k.h"
#include "tensor/block_q5_k.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

#include "kernels/avx2/gemm_k.inl.h"

/// Scales, minimums and d of eight rows; byte k of a lane belongs to sub-block k, or 4 + k.
struct Header {
  __m256i scale_low, scale_high, minimum_low, minimum_high;
  __m256 d, dmin;
};
inline Header LoadHeader(const EightRows& rows, size_t offset) {
  __m256i word[4];  // d and dmin; bytes 0..3, 4..7, 8..11 of scales
  LoadColumns4(rows, offset, word);
  const __m256i six = _mm256_set1_epi8(0x3F), four = _mm256_set1_epi8(0x0F);
  const __m256i two = _mm256_set1_epi8(0x30);
  Header h;
  h.scale_low = _mm256_and_si256(word[1], six);
  h.minimum_low = _mm256_and_si256(word[2], six);
  h.scale_high = _mm256_or_si256(_mm256_and_si256(word[3], four),
                                 _mm256_and_si256(_mm256_srli_epi32(word[1], 2), two));
  h.minimum_high = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(word[3], 4), four),
                                   _mm256_and_si256(_mm256_srli_epi32(word[2], 2), two));
  const __m256i d = _mm256_and_si256(word[0], _mm256_set1_epi32(0xFFFF));
  const __m256i dmin = _mm256_srli_epi32(word[0], 16);
  h.d =
      _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1)));
  h.dmin = _mm256_cvtph_ps(
      _mm_packus_epi32(_mm256_castsi256_si128(dmin), _mm256_extracti128_si256(dmin, 1)));
  return h;
}

/// Byte k of every lane as the pair (b, b) of int16.
inline __m256i PairOf(__m256i bytes, int k) {
  const int high = static_cast<int>(0x80008000u);  // 0x80: a zero byte
  return _mm256_shuffle_epi8(
      bytes, _mm256_add_epi32(_mm256_set1_epi32(high | k | k << 16),
                              _mm256_setr_epi32(0, 0x040004, 0x080008, 0x0C000C, 0, 0x040004,
                                                0x080008, 0x0C000C)));
}
/// Even bytes (b0, b2) and odd bytes (b1, b3) of every lane as pairs.
inline __m256i EvenPair(__m256i bytes) {
  return _mm256_and_si256(bytes, _mm256_set1_epi16(0x00FF));
}
inline __m256i OddPair(__m256i bytes) { return _mm256_srli_epi16(bytes, 8); }

/// Sums of q over each 32, from those over each 16, as the pairs that meet the minimums: 32-bit
/// lanes (s0, s2) (s1, s3) (s4, s6) (s5, s7).
inline __m128i SumPairs(const int16_t* sum) {
  const __m256i sums = _mm256_madd_epi16(LoadBytes(sum), _mm256_set1_epi16(1));
  const __m128i packed =
      _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return _mm_shuffle_epi8(packed,
                          _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
}

/// Sub-blocks 2 c and 2 c + 1: the nibbles of bytes c of qs, and bits 2 c, 2 c + 1 of qh as bits 0
/// and 1 of high (kBits == 5).
struct Two {
  __m256i low, high;
};
template <int kBits>
inline Two Decode(__m256i nibbles, __m256i high) {
  const __m256i four = _mm256_set1_epi8(0x0F), fifth = _mm256_set1_epi8(0x10);
  Two w = {_mm256_and_si256(nibbles, four), _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), four)};
  if constexpr (kBits == 5) {
    w.low = _mm256_or_si256(w.low, _mm256_and_si256(_mm256_slli_epi16(high, 4), fifth));
    w.high = _mm256_or_si256(w.high, _mm256_and_si256(_mm256_slli_epi16(high, 3), fifth));
  }
  return w;
}

template <class BlockType, int kBlockBits>
struct TypeK32 {
  using BlockOf = BlockType;
  static constexpr int kBits = kBlockBits;
  static constexpr int kScales = 8, kPairs = 4, kSteps = kBits == 4 ? 8 : 4, kOffsetShift = 0;
  static constexpr bool kMinimums = true;
  using Tile = TileK<kScales, kPairs>;
  static constexpr size_t kQs = offsetof(BlockType, qs), kQh = 16;

  static inline void Pairs(const int16_t* sum, int32_t* pairs) {
    _mm_store_si128(reinterpret_cast<__m128i*>(pairs), SumPairs(sum));
  }

  static inline void PackHeader(const EightRows& rows, size_t offset, int first, Tile* tile) {
    const Header h = LoadHeader(rows, offset);
    _mm256_store_ps(tile->d + first, h.d);
    _mm256_store_ps(tile->dmin + first, h.dmin);
    for (int k = 0; k < 4; ++k) {
      StoreBytes(tile->scale[k][first], PairOf(h.scale_low, k));
      StoreBytes(tile->scale[4 + k][first], PairOf(h.scale_high, k));
    }
    // (m0, m2) (m1, m3) (m4, m6) (m5, m7): the order of SumPairs
    StoreBytes(tile->offset[0][first], EvenPair(h.minimum_low));
    StoreBytes(tile->offset[1][first], OddPair(h.minimum_low));
    StoreBytes(tile->offset[2][first], EvenPair(h.minimum_high));
    StoreBytes(tile->offset[3][first], OddPair(h.minimum_high));
  }

  /// A block of eight rows into rows first .. first + 7 of its tile.
  static inline void PackEight(const EightRows& rows, size_t offset, int first, Tile* tile) {
    PackHeader(rows, offset, first, tile);
    __m256i high[8] = {};
    if constexpr (kBits == 5) LoadColumns8(rows, offset + kQh, high);
    for (int c = 0; c < 4; ++c) {
      __m256i column[8];
      LoadColumns8(rows, offset + kQs + static_cast<size_t>(c) * 32, column);
      for (int g = 0; g < 8; ++g) {
        const Two w = Decode<kBits>(column[g], high[g]);
        StoreBytes(tile->q[c * 16 + g][first], w.low);
        StoreBytes(tile->q[c * 16 + 8 + g][first], w.high);
        high[g] = _mm256_srli_epi16(high[g], 2);
      }
    }
  }

  /// S of one row and one block, spread over eight lanes. scale: pairs [8 sub-blocks][8 rows].
  static inline __m256i RowProducts(const std::byte* block, const int32_t* scale, const int8_t* q) {
    __m256i total = _mm256_setzero_si256(), high = total;
    if constexpr (kBits == 5) high = LoadBytes(block + kQh);
    for (int c = 0; c < 4; ++c) {
      const Two w = Decode<kBits>(LoadBytes(block + kQs + c * 32), high);
      const __m256i even = _mm256_maddubs_epi16(w.low, LoadBytes(q + c * 64));
      const __m256i odd = _mm256_maddubs_epi16(w.high, LoadBytes(q + c * 64 + 32));
      total = _mm256_add_epi32(total, _mm256_madd_epi16(even, Broadcast4(scale + c * 16)));
      total = _mm256_add_epi32(total, _mm256_madd_epi16(odd, Broadcast4(scale + c * 16 + 8)));
      high = _mm256_srli_epi16(high, 2);
    }
    return total;
  }
};

/// M of eight rows.
inline __m256i RowMinimums(const Header& h, const int16_t* sum) {
  const __m128i s = SumPairs(sum);
  const __m256i a = _mm256_madd_epi16(EvenPair(h.minimum_low), _mm256_broadcastd_epi32(s));
  const __m256i b = _mm256_madd_epi16(OddPair(h.minimum_low),
                                      _mm256_broadcastd_epi32(_mm_shuffle_epi32(s, 0x55)));
  const __m256i c = _mm256_madd_epi16(EvenPair(h.minimum_high),
                                      _mm256_broadcastd_epi32(_mm_shuffle_epi32(s, 0xAA)));
  const __m256i d = _mm256_madd_epi16(OddPair(h.minimum_high),
                                      _mm256_broadcastd_epi32(_mm_shuffle_epi32(s, 0xFF)));
  return _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
}

/// Eight rows in lanes, as in a tile, but straight from the file: what is done to the weights is
/// done once for all tokens, and nothing is added across lanes.
template <class Type>
struct GemvK32 {
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kBlock = 256, kTokens = 4;
  static constexpr size_t kBytes = sizeof(typename Type::BlockOf);

  /// Adds to sums[2 t], sums[2 t + 1] the products of columns 4 g .. 4 g + 3 of two sub-blocks.
  template <int kN>
  static inline void Multiply(const Two& w, const int8_t* const* q, int at, __m256i* sums) {
    for (int t = 0; t < kN; ++t) {
      sums[2 * t] =
          _mm256_add_epi16(sums[2 * t], _mm256_maddubs_epi16(w.low, Broadcast4(q[t] + at)));
      sums[2 * t + 1] = _mm256_add_epi16(sums[2 * t + 1],
                                         _mm256_maddubs_epi16(w.high, Broadcast4(q[t] + at + 32)));
      Pin(sums[2 * t], sums[2 * t + 1]);
    }
  }
  template <int kN>
  static inline void AddScaled(__m256i* sums, __m256i even, __m256i odd, __m256i* total) {
    for (int t = 0; t < kN; ++t) {
      const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(sums[2 * t], even),
                                                _mm256_madd_epi16(sums[2 * t + 1], odd));
      total[t] = _mm256_add_epi32(total[t], products);
      sums[2 * t] = sums[2 * t + 1] = _mm256_setzero_si256();
    }
  }

  /// S of one block and each token.
  template <int kN>
  static inline void Products(const EightRows& rows, size_t offset, const Header& h, uintptr_t next,
                              const int8_t* const* q, __m256i* total) {
    __m256i high[8] = {}, sums[2 * kN];
    if constexpr (Type::kBits == 5) LoadColumns8(rows, offset + Type::kQh, high);
    for (int t = 0; t < kN; ++t) total[t] = sums[2 * t] = sums[2 * t + 1] = _mm256_setzero_si256();
    for (int c = 0; c < 4; ++c) {
      Prefetch<2 * kBytes>(next + static_cast<size_t>(c) * 2 * kBytes);
      const __m256i scales = c < 2 ? h.scale_low : h.scale_high;
      const __m256i even = PairOf(scales, 2 * c % 4), odd = PairOf(scales, 2 * c % 4 + 1);
      for (int half = 0; half < 2; ++half) {
        __m256i column[4];
        LoadColumns4(rows, offset + Type::kQs + static_cast<size_t>(c * 32 + half * 16), column);
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g) {
          __m256i& bits = high[half * 4 + g];
          Multiply<kN>(Decode<Type::kBits>(column[g], bits), q, c * 64 + half * 16 + g * 4, sums);
          if constexpr (Type::kBits == 5) bits = _mm256_srli_epi16(bits, 2);
        }
        // Five bits fill int16 after four products, four bits after eight.
        if (half == 1 || Type::kSteps == 4) AddScaled<kN>(sums, even, odd, total);
      }
    }
  }

  /// S of one block and one token, row after row, summed across lanes at the end: for five bits,
  /// whose high bits cost more to bring into lanes than one token gives back (22 against 19 Gop/s).
  static inline __m256i ProductsByRow(const EightRows& rows, size_t offset, const Header& h,
                                      uintptr_t next, const int8_t* q) {
    alignas(32) int32_t scale[8][8];
    for (int k = 0; k < 4; ++k) {
      StoreBytes(scale[k], PairOf(h.scale_low, k));
      StoreBytes(scale[4 + k], PairOf(h.scale_high, k));
    }
    __m256i products[8];
    for (int r = 0; r < 8; ++r) {
      Prefetch<kBytes>(next + static_cast<size_t>(r) * kBytes);
      products[r] = Type::RowProducts(rows.p[r] + offset, scale[0] + r, q);
    }
    return SumLanes(products);
  }

  template <int kN>
  static void Few(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts* x,
                  __m256* acc) {
    for (int t = 0; t < kN; ++t) acc[t] = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b, next += 8 * kBytes) {
      const size_t offset = static_cast<size_t>(b) * kBytes;
      const Header h = LoadHeader(rows, offset);
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 256;
      __m256i total[kN];
      if constexpr (kN == 1 && Type::kBits == 5)
        total[0] = ProductsByRow(rows, offset, h, next, q[0]);
      else
        Products<kN>(rows, offset, h, next, q, total);
      for (int t = 0; t < kN; ++t) {
        const __m256 d_x = _mm256_set1_ps(x[t].d[b]);
        acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(h.d, d_x), _mm256_cvtepi32_ps(total[t]), acc[t]);
        acc[t] = _mm256_fnmadd_ps(_mm256_mul_ps(h.dmin, d_x),
                                  _mm256_cvtepi32_ps(RowMinimums(h, x[t].sum + b * 16)), acc[t]);
      }
    }
  }
};

using TypeQ4K = TypeK32<BlockQ4K, 4>;
using TypeQ5K = TypeK32<BlockQ5K, 5>;

}  // namespace

void InstallK32(KernelTable& table) {
  InstallMatrix<TypeQ4K, GemmK<TypeQ4K>, GemvK32<TypeQ4K>>(table, &QuantizeBlocks256);
  InstallMatrix<TypeQ5K, GemmK<TypeQ5K>, GemvK32<TypeQ5K>>(table, &QuantizeBlocks256);
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
