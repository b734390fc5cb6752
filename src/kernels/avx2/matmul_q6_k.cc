// SPDX-License-Identifier: Apache-2.0
// AVX2 Q6_K products; bitwise the same as scalar/matmul_q6_k.cc, which defines them.
//
// SHAPES      weights Q6_K [n_rows, cols], activations kBlocks256, out [n_tokens, n_rows];
//             tile TileQ6K [cols / 256] of 16 rows
// DEFINITION  acc = 0; per block of 256, ascending, with sub-blocks j of 16:
//             S = sum_j sc_j * (sum(w6 * q) - 32 * sum(q)), exact in int32;
//             acc = fma(d * d_x, float(S), acc)
// ASSUMES     |q| <= 127. Exact because: w6 stays unsigned, one vpmaddubsw gives at most
//             2 * 63 * 127 = 16002 and two of them 32004 < 2^15 (three would not fit); times 128,
//             in pairs, over 256 columns 262 144 000 < 2^31; the other term, 32 * sum_j sc_j *
//             sum(q), at most 133 169 152.
// EXAMPLE     8x7B output head: 2000 tiles of [16, 4096]; one tile is 91 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q6_k.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

/// One block of 16 rows. Pairs share a 32-bit lane, as vpmaddwd wants them.
struct alignas(64) TileQ6K {
  float d[16];
  int16_t scale[16][16][2];  // sub-block j: (sc_j, sc_j)
  int16_t both[8][16][2];    // (sc_2j, sc_2j+1): meet the sums of q
  uint8_t q[64][16][4];      // columns 4 g .. 4 g + 3, 0..63
};
static_assert(sizeof(TileQ6K) == 5696);

size_t TileBytes(int cols) noexcept { return static_cast<size_t>(cols) / 256 * sizeof(TileQ6K); }

constexpr size_t kHighBits = offsetof(BlockQ6K, qh), kScales = offsetof(BlockQ6K, scales),
                 kD = offsetof(BlockQ6K, d);

/// Bytes a and b of every lane, sign-extended, as the pair (a, b) of int16.
inline __m256i SignedPair(__m256i bytes, int a, int b) {
  const __m256i from =
      _mm256_add_epi32(_mm256_set1_epi32(0x00800080 | a << 8 | b << 24),  // 0x80: a zero byte
                       _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0C000C00, 0, 0x04000400,
                                         0x08000800, 0x0C000C00));
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, from), 8);
}

inline void PackScales(const EightRows& rows, size_t offset, int first, TileQ6K* tile) {
  _mm256_store_ps(tile->d + first, LoadScales(rows, offset + kD));
  __m256i word[4];
  LoadColumns4(rows, offset + kScales, word);
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 4; ++k)
      StoreBytes(tile->scale[i * 4 + k][first], SignedPair(word[i], k, k));
    StoreBytes(tile->both[i * 2][first], SignedPair(word[i], 0, 1));
    StoreBytes(tile->both[i * 2 + 1][first], SignedPair(word[i], 2, 3));
  }
}

/// The four runs of 32 columns of which ql and qh hold bytes low0, low1 and high.
struct Runs {
  __m256i run[4];
};
inline Runs Decode(__m256i low0, __m256i low1, __m256i high) {
  const __m256i four = _mm256_set1_epi8(0x0F), two = _mm256_set1_epi8(0x30);
  Runs r;
  r.run[0] = _mm256_or_si256(_mm256_and_si256(low0, four),
                             _mm256_and_si256(_mm256_slli_epi16(high, 4), two));
  r.run[1] = _mm256_or_si256(_mm256_and_si256(low1, four),
                             _mm256_and_si256(_mm256_slli_epi16(high, 2), two));
  r.run[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low0, 4), four),
                             _mm256_and_si256(high, two));
  r.run[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low1, 4), four),
                             _mm256_and_si256(_mm256_srli_epi16(high, 2), two));
  return r;
}

/// Block b of eight rows into rows first .. first + 7 of its tile.
inline void PackEight(const EightRows& rows, int b, int first, TileQ6K* tile) {
  const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ6K);
  PackScales(rows, offset, first, tile);
  for (int half = 0; half < 2; ++half) {
    __m256i low0[8], low1[8], high[8];
    const size_t ql = offset + static_cast<size_t>(half) * 64;
    LoadColumns8(rows, ql, low0);
    LoadColumns8(rows, ql + 32, low1);
    LoadColumns8(rows, offset + kHighBits + static_cast<size_t>(half) * 32, high);
    for (int g = 0; g < 8; ++g) {
      const Runs r = Decode(low0[g], low1[g], high[g]);
      for (int i = 0; i < 4; ++i) StoreBytes(tile->q[half * 32 + i * 8 + g][first], r.run[i]);
    }
  }
}

void PackTile(const PackTileArgs& args) noexcept {
  const EightRows low = RowsFrom(args.weights, args.row_bytes, 0, args.n_rows);
  const EightRows high = RowsFrom(args.weights, args.row_bytes, 8, args.n_rows);
  auto next = reinterpret_cast<uintptr_t>(args.weights) + kTileRows * args.row_bytes;
  for (int b = 0; b < args.cols / 256; ++b) {
    auto* tile = static_cast<TileQ6K*>(args.tile) + b;
    PackEight(low, b, 0, tile);
    PackEight(high, b, 8, tile);
    Prefetch<kTileRows * sizeof(BlockQ6K)>(next);
    next += kTileRows * sizeof(BlockQ6K);
  }
}

struct GemmQ6K {
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kTokens = 4;  // eight totals, four weights, two temporaries: 14 registers

  /// sum_j sc_j * sum(w6 * q) of one block: total[2 t], total[2 t + 1] for rows 0..7, 8..15.
  template <int kN>
  static inline void Products(const TileQ6K& tile, const int8_t* const* q, __m256i* total) {
    for (int i = 0; i < 2 * kN; ++i) total[i] = _mm256_setzero_si256();
    for (int g = 0; g < 64; g += 2) {
      const __m256i low0 = LoadBytes(tile.q[g][0]), low1 = LoadBytes(tile.q[g + 1][0]);
      const __m256i high0 = LoadBytes(tile.q[g][8]), high1 = LoadBytes(tile.q[g + 1][8]);
      for (int t = 0; t < kN; ++t) {
        const __m256i x0 = Broadcast4(q[t] + g * 4), x1 = Broadcast4(q[t] + g * 4 + 4);
        const __m256i low =
            _mm256_add_epi16(_mm256_maddubs_epi16(low0, x0), _mm256_maddubs_epi16(low1, x1));
        const __m256i high =
            _mm256_add_epi16(_mm256_maddubs_epi16(high0, x0), _mm256_maddubs_epi16(high1, x1));
        const auto& scale = tile.scale[g / 4];
        total[2 * t] = _mm256_add_epi32(total[2 * t], _mm256_madd_epi16(low, LoadBytes(scale[0])));
        total[2 * t + 1] =
            _mm256_add_epi32(total[2 * t + 1], _mm256_madd_epi16(high, LoadBytes(scale[8])));
        Pin(total[2 * t], total[2 * t + 1]);
      }
    }
  }

  /// acc of eight rows and one token after one block; sum: of each 16 q.
  static inline __m256 Accumulate(const TileQ6K& tile, int first, __m256i products,
                                  const int16_t* sum, __m256 d_x, __m256 acc) {
    __m256i offsets = _mm256_setzero_si256();
    for (int j = 0; j < 8; ++j)
      offsets = _mm256_add_epi32(
          offsets, _mm256_madd_epi16(LoadBytes(tile.both[j][first]), Broadcast4(sum + j * 2)));
    const __m256i exact = _mm256_sub_epi32(products, _mm256_slli_epi32(offsets, 5));
    const __m256 d = _mm256_mul_ps(_mm256_load_ps(tile.d + first), d_x);
    return _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(exact), acc);
  }

  template <int kN>
  static inline void Block(const GemmTileArgs& args, const ActLayout& layout, int first) {
    ActParts x[kN];
    __m256 acc[2 * kN];
    for (int t = 0; t < kN; ++t) {
      x[t] = TokenParts(args, layout, first + t);
      acc[2 * t] = acc[2 * t + 1] = _mm256_setzero_ps();
    }
    const auto* tile = static_cast<const TileQ6K*>(args.tile);
    for (int b = 0; b < args.cols / 256; ++b) {
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 256;
      __m256i total[2 * kN];
      Products<kN>(tile[b], q, total);
      for (int t = 0; t < kN; ++t) {
        const __m256 d_x = _mm256_set1_ps(x[t].d[b]);
        const int16_t* sum = x[t].sum + b * 16;
        acc[2 * t] = Accumulate(tile[b], 0, total[2 * t], sum, d_x, acc[2 * t]);
        acc[2 * t + 1] = Accumulate(tile[b], 8, total[2 * t + 1], sum, d_x, acc[2 * t + 1]);
      }
    }
    for (int t = 0; t < kN; ++t)
      StoreResults(args.out + (first + t) * args.out_stride, args.n_rows, acc[2 * t],
                   acc[2 * t + 1]);
  }
};

/// Sixteen values of int16 or int8 width are kept as (0 2 4 .. 14 | 1 3 .. 15): the two halves of
/// 32 columns then find their scales by the same shuffle in either 128-bit lane.
inline __m256i ScalesByParity(const std::byte* scales) {
  const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(LoadHalf(scales), order));
}
inline __m256i SumsByParity(const int16_t* sum) {
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1,
                                         4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(LoadBytes(sum), order), 0xD8);
}

/// S of one row and one block, spread over eight lanes.
inline __m256i RowProducts(const std::byte* block, const int8_t* q, __m256i sums) {
  const __m256i scales = ScalesByParity(block + kScales);
  __m256i total = _mm256_sub_epi32(_mm256_setzero_si256(),
                                   _mm256_slli_epi32(_mm256_madd_epi16(scales, sums), 5));
  for (int half = 0; half < 2; ++half) {
    const std::byte* ql = block + half * 64;
    const Runs r =
        Decode(LoadBytes(ql), LoadBytes(ql + 32), LoadBytes(block + kHighBits + half * 32));
    for (int i = 0; i < 4; ++i) {
      const int j = half * 4 + i;
      const __m256i products = _mm256_maddubs_epi16(r.run[i], LoadBytes(q + j * 32));
      const __m256i element = _mm256_set1_epi16(static_cast<int16_t>(2 * j | (2 * j + 1) << 8));
      total = _mm256_add_epi32(total,
                               _mm256_madd_epi16(products, _mm256_shuffle_epi8(scales, element)));
    }
  }
  return total;
}

struct GemvQ6K {
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kBlock = 256;

  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b) {
      const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ6K);
      const __m256i sums = SumsByParity(x.sum + b * 16);
      __m256i products[8];
      for (int r = 0; r < 8; ++r) {
        Prefetch<sizeof(BlockQ6K)>(next);
        next += sizeof(BlockQ6K);
        products[r] = RowProducts(rows.p[r] + offset, x.q + b * 256, sums);
      }
      const __m256 d = _mm256_mul_ps(LoadScales(rows, offset + kD), _mm256_set1_ps(x.d[b]));
      acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(SumLanes(products)), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ6K(KernelTable& table) {
  table.matrix[static_cast<size_t>(Compute::kFast)][Index(DType::kQ6_K)] = {
      ActForm::kBlocks256,
      {&QuantizeBlocks256, Isa::kAvx2},
      {&PackTile, Isa::kAvx2},
      {&GemmTile<GemmQ6K>, Isa::kAvx2},
      {&GemvRows<GemvQ6K>, Isa::kAvx2},
      &TileBytes};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
