// SPDX-License-Identifier: Apache-2.0
// AVX2 Q4_K products; bitwise the same as scalar/matmul_q4_k.cc, which defines them.
//
// SHAPES      weights Q4_K [n_rows, cols], activations kBlocks256, out [n_tokens, n_rows];
//             tile TileQ4K [cols / 256] of 16 rows
// DEFINITION  acc = 0; per block of 256, ascending, with sub-blocks j of 32:
//             S = sum_j sc_j * sum(w4 * q), M = sum_j m_j * sum(q), exact in int32;
//             acc = fma(d * d_x, float(S), acc); acc = fma(-(dmin * d_x), float(M), acc)
// ASSUMES     |q| <= 127. Exact because: one vpmaddubsw gives at most 2 * 15 * 127 = 3810; the
//             eight of a sub-block 30480 < 2^15; times 63, in pairs, over eight sub-blocks
//             30 720 000 < 2^31.
// EXAMPLE     8x7B gate: 896 tiles of [16, 4096]; one tile is 80 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q4_k.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

/// One block of 16 rows. Pairs share a 32-bit lane, as vpmaddwd wants them.
struct alignas(64) TileQ4K {
  float d[16], dmin[16];
  int16_t scale[8][16][2];    // sub-block j: (sc_j, sc_j)
  int16_t minimum[4][16][2];  // (m0, m2) (m1, m3) (m4, m6) (m5, m7): the order of SumPairs
  uint8_t q[64][16][4];       // columns 4 g .. 4 g + 3
};
static_assert(sizeof(TileQ4K) == 4992);

size_t TileBytes(int cols) noexcept { return static_cast<size_t>(cols) / 256 * sizeof(TileQ4K); }

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

inline void PackHeader(const EightRows& rows, size_t offset, int first, TileQ4K* tile) {
  const Header h = LoadHeader(rows, offset);
  _mm256_store_ps(tile->d + first, h.d);
  _mm256_store_ps(tile->dmin + first, h.dmin);
  for (int k = 0; k < 4; ++k) {
    StoreBytes(tile->scale[k][first], PairOf(h.scale_low, k));
    StoreBytes(tile->scale[4 + k][first], PairOf(h.scale_high, k));
  }
  StoreBytes(tile->minimum[0][first], EvenPair(h.minimum_low));
  StoreBytes(tile->minimum[1][first], OddPair(h.minimum_low));
  StoreBytes(tile->minimum[2][first], EvenPair(h.minimum_high));
  StoreBytes(tile->minimum[3][first], OddPair(h.minimum_high));
}

/// Block b of eight rows into rows first .. first + 7 of its tile.
inline void PackEight(const EightRows& rows, int b, int first, TileQ4K* tile) {
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ4K);
  PackHeader(rows, offset, first, tile);
  for (int c = 0; c < 4; ++c) {  // 32 bytes: sub-blocks 2 c (low nibbles) and 2 c + 1
    __m256i column[8];
    LoadColumns8(rows, offset + 16 + static_cast<size_t>(c) * 32, column);
    for (int g = 0; g < 8; ++g) {
      StoreBytes(tile->q[c * 16 + g][first], _mm256_and_si256(column[g], nibble));
      StoreBytes(tile->q[c * 16 + 8 + g][first],
                 _mm256_and_si256(_mm256_srli_epi16(column[g], 4), nibble));
    }
  }
}

void PackTile(const PackTileArgs& args) noexcept {
  const EightRows low = RowsFrom(args.weights, args.row_bytes, 0, args.n_rows);
  const EightRows high = RowsFrom(args.weights, args.row_bytes, 8, args.n_rows);
  auto next = reinterpret_cast<uintptr_t>(args.weights) + kTileRows * args.row_bytes;
  for (int b = 0; b < args.cols / 256; ++b) {
    auto* tile = static_cast<TileQ4K*>(args.tile) + b;
    PackEight(low, b, 0, tile);
    PackEight(high, b, 8, tile);
    Prefetch<kTileRows * sizeof(BlockQ4K)>(next);
    next += kTileRows * sizeof(BlockQ4K);
  }
}

struct GemmQ4K {
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kTokens = 6;  // twelve sums, two weights and one activation: 15 registers

  /// S of one block: total[2 t], total[2 t + 1] for rows 0..7, 8..15 of token t.
  template <int kN>
  static inline void Products(const TileQ4K& tile, const int8_t* const* q, __m256i* total) {
    for (int i = 0; i < 2 * kN; ++i) total[i] = _mm256_setzero_si256();
    for (int j = 0; j < 8; ++j) {
      __m256i sums[2 * kN];
      for (int i = 0; i < 2 * kN; ++i) sums[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        const __m256i low = LoadBytes(tile.q[j * 8 + g][0]);
        const __m256i high = LoadBytes(tile.q[j * 8 + g][8]);
        for (int t = 0; t < kN; ++t) {
          const __m256i x = Broadcast4(q[t] + j * 32 + g * 4);
          sums[2 * t] = _mm256_add_epi16(sums[2 * t], _mm256_maddubs_epi16(low, x));
          sums[2 * t + 1] = _mm256_add_epi16(sums[2 * t + 1], _mm256_maddubs_epi16(high, x));
          Pin(sums[2 * t], sums[2 * t + 1]);
        }
      }
      const __m256i scale_low = LoadBytes(tile.scale[j][0]);
      const __m256i scale_high = LoadBytes(tile.scale[j][8]);
      for (int t = 0; t < kN; ++t) {
        total[2 * t] = _mm256_add_epi32(total[2 * t], _mm256_madd_epi16(sums[2 * t], scale_low));
        total[2 * t + 1] =
            _mm256_add_epi32(total[2 * t + 1], _mm256_madd_epi16(sums[2 * t + 1], scale_high));
      }
    }
  }

  /// M of one block and one token, for eight rows from first.
  static inline __m256i Minimums(const TileQ4K& tile, int first, const int32_t* pairs) {
    __m256i total = _mm256_setzero_si256();
    for (int k = 0; k < 4; ++k)
      total = _mm256_add_epi32(
          total, _mm256_madd_epi16(LoadBytes(tile.minimum[k][first]), _mm256_set1_epi32(pairs[k])));
    return total;
  }

  static inline __m256 Accumulate(const TileQ4K& tile, int first, __m256i products,
                                  const int32_t* pairs, __m256 d_x, __m256 acc) {
    const __m256 d = _mm256_mul_ps(_mm256_load_ps(tile.d + first), d_x);
    const __m256 dmin = _mm256_mul_ps(_mm256_load_ps(tile.dmin + first), d_x);
    acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(products), acc);
    return _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(Minimums(tile, first, pairs)), acc);
  }

  template <int kN>
  static inline void Block(const GemmTileArgs& args, const ActLayout& layout, int first) {
    ActParts x[kN];
    __m256 acc[2 * kN];
    for (int t = 0; t < kN; ++t) {
      x[t] = TokenParts(args, layout, first + t);
      acc[2 * t] = acc[2 * t + 1] = _mm256_setzero_ps();
    }
    const auto* tile = static_cast<const TileQ4K*>(args.tile);
    for (int b = 0; b < args.cols / 256; ++b) {
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 256;
      __m256i total[2 * kN];
      Products<kN>(tile[b], q, total);
      for (int t = 0; t < kN; ++t) {
        alignas(16) int32_t pairs[4];
        _mm_store_si128(reinterpret_cast<__m128i*>(pairs), SumPairs(x[t].sum + b * 16));
        const __m256 d_x = _mm256_set1_ps(x[t].d[b]);
        acc[2 * t] = Accumulate(tile[b], 0, total[2 * t], pairs, d_x, acc[2 * t]);
        acc[2 * t + 1] = Accumulate(tile[b], 8, total[2 * t + 1], pairs, d_x, acc[2 * t + 1]);
      }
    }
    for (int t = 0; t < kN; ++t)
      StoreResults(args.out + (first + t) * args.out_stride, args.n_rows, acc[2 * t],
                   acc[2 * t + 1]);
  }
};

/// S of one row and one block, spread over eight lanes. scale: pairs [8 sub-blocks][8 rows].
inline __m256i RowProducts(const std::byte* qs, const int32_t* scale, const int8_t* q) {
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  __m256i total = _mm256_setzero_si256();
  for (int c = 0; c < 4; ++c) {
    const __m256i w = LoadBytes(qs + c * 32);
    const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(w, nibble), LoadBytes(q + c * 64));
    const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(w, 4), nibble),
                                              LoadBytes(q + c * 64 + 32));
    total = _mm256_add_epi32(total, _mm256_madd_epi16(low, Broadcast4(scale + c * 16)));
    total = _mm256_add_epi32(total, _mm256_madd_epi16(high, Broadcast4(scale + c * 16 + 8)));
  }
  return total;
}

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

/// next: address of the eight rows that follow.
inline __m256 GemvEight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
  __m256 acc = _mm256_setzero_ps();
  for (int b = 0; b < n_blocks; ++b) {
    const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ4K);
    const Header h = LoadHeader(rows, offset);
    alignas(32) int32_t scale[8][8];
    for (int k = 0; k < 4; ++k) {
      StoreBytes(scale[k], PairOf(h.scale_low, k));
      StoreBytes(scale[4 + k], PairOf(h.scale_high, k));
    }
    __m256i products[8];
    for (int r = 0; r < 8; ++r) {
      const std::byte* p = rows.p[r] + offset;
      Prefetch<sizeof(BlockQ4K)>(next);
      next += sizeof(BlockQ4K);
      products[r] = RowProducts(p + 16, scale[0] + r, x.q + b * 256);
    }
    const __m256 d_x = _mm256_set1_ps(x.d[b]);
    acc = _mm256_fmadd_ps(_mm256_mul_ps(h.d, d_x), _mm256_cvtepi32_ps(SumLanes(products)), acc);
    acc = _mm256_fnmadd_ps(_mm256_mul_ps(h.dmin, d_x),
                           _mm256_cvtepi32_ps(RowMinimums(h, x.sum + b * 16)), acc);
  }
  return acc;
}

struct GemvQ4K {
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kBlock = 256;
  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    return GemvEight(rows, next, n_blocks, x);
  }
};

}  // namespace

void InstallQ4K(KernelTable& table) {
  table.matrix[static_cast<size_t>(Compute::kFast)][Index(DType::kQ4_K)] = {
      ActForm::kBlocks256,
      {&QuantizeBlocks256, Isa::kAvx2},
      {&PackTile, Isa::kAvx2},
      {&GemmTile<GemmQ4K>, Isa::kAvx2},
      {&GemvRows<GemvQ4K>, Isa::kAvx2},
      &TileBytes};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
