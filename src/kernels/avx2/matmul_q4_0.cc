// SPDX-License-Identifier: Apache-2.0
// AVX2 Q4_0 products; bitwise the same as scalar/matmul_q4_0.cc, which defines them.
//
// SHAPES      weights Q4_0 [n_rows, cols], activations kBlocks32, out [n_tokens, n_rows];
//             tile TileQ4_0 [cols / 32] of 16 rows
// DEFINITION  acc = 0; per block of 32, ascending:
//             acc = fma(d_w * d_x, float(sum(w4 * q) - 8 * sum(q)), acc)
// ASSUMES     |q| <= 127. Exact because: w4 stays unsigned, one vpmaddubsw gives at most
//             2 * 15 * 127 = 3810, the eight of a block 30480 < 2^15.
// EXAMPLE     8x7B gate: 896 tiles of [16, 4096]; one tile is 72 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q4_0.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

/// One block of 16 rows.
struct alignas(64) TileQ4_0 {
  float d[16];
  uint8_t q[8][16][4];  // columns 4 g .. 4 g + 3, 0..15
};
static_assert(sizeof(TileQ4_0) == 576);

size_t TileBytes(int cols) noexcept { return static_cast<size_t>(cols) / 32 * sizeof(TileQ4_0); }

/// Block b of eight rows into rows first .. first + 7 of its tile.
inline void PackEight(const EightRows& rows, int b, int first, TileQ4_0* tile) {
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ4_0);
  _mm256_store_ps(tile->d + first, LoadScales(rows, offset));
  __m256i column[4];  // low nibbles: columns 0..15, high: 16..31
  LoadColumns4(rows, offset + 2, column);
  for (int g = 0; g < 4; ++g) {
    StoreBytes(tile->q[g][first], _mm256_and_si256(column[g], nibble));
    StoreBytes(tile->q[4 + g][first], _mm256_and_si256(_mm256_srli_epi16(column[g], 4), nibble));
  }
}

void PackTile(const PackTileArgs& args) noexcept {
  const EightRows low = RowsFrom(args.weights, args.row_bytes, 0, args.n_rows);
  const EightRows high = RowsFrom(args.weights, args.row_bytes, 8, args.n_rows);
  auto next = reinterpret_cast<uintptr_t>(args.weights) + kTileRows * args.row_bytes;
  for (int b = 0; b < args.cols / 32; ++b) {
    auto* tile = static_cast<TileQ4_0*>(args.tile) + b;
    PackEight(low, b, 0, tile);
    PackEight(high, b, 8, tile);
    Prefetch<kTileRows * sizeof(BlockQ4_0)>(next);
    next += kTileRows * sizeof(BlockQ4_0);
  }
}

/// sum(w4 * q) - 8 * sum(q) of eight rows, from the int16 sums over pairs of columns.
inline __m256i Unbias(__m256i sums, __m256i eight_sums) {
  return _mm256_sub_epi32(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)), eight_sums);
}

struct GemmQ4_0 {
  static constexpr ActForm kForm = ActForm::kBlocks32;
  static constexpr int kTokens = 6;  // twelve sums, two weights and one activation: 15 registers

  /// One block, in int16: sums[2 t], sums[2 t + 1] for rows 0..7, 8..15 of token t.
  template <int kN>
  static inline void Products(const TileQ4_0& tile, const int8_t* const* q, __m256i* sums) {
    for (int i = 0; i < 2 * kN; ++i) sums[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      const __m256i low = LoadBytes(tile.q[g][0]), high = LoadBytes(tile.q[g][8]);
      for (int t = 0; t < kN; ++t) {
        const __m256i x = Broadcast4(q[t] + g * 4);
        sums[2 * t] = _mm256_add_epi16(sums[2 * t], _mm256_maddubs_epi16(low, x));
        sums[2 * t + 1] = _mm256_add_epi16(sums[2 * t + 1], _mm256_maddubs_epi16(high, x));
        Pin(sums[2 * t], sums[2 * t + 1]);
      }
    }
  }

  template <int kN>
  static inline void Block(const GemmTileArgs& args, const ActLayout& layout, int first) {
    ActParts x[kN];
    __m256 acc[2 * kN];
    for (int t = 0; t < kN; ++t) {
      x[t] = TokenParts(args, layout, first + t);
      acc[2 * t] = acc[2 * t + 1] = _mm256_setzero_ps();
    }
    const auto* tile = static_cast<const TileQ4_0*>(args.tile);
    for (int b = 0; b < args.cols / 32; ++b) {
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 32;
      __m256i sums[2 * kN];
      Products<kN>(tile[b], q, sums);
      const __m256 d_low = _mm256_load_ps(tile[b].d), d_high = _mm256_load_ps(tile[b].d + 8);
      for (int t = 0; t < kN; ++t) {
        const __m256 d_x = _mm256_set1_ps(x[t].d[b]);
        const __m256i eight_sums = _mm256_set1_epi32(8 * x[t].sum[b]);
        acc[2 * t] =
            _mm256_fmadd_ps(_mm256_mul_ps(d_low, d_x),
                            _mm256_cvtepi32_ps(Unbias(sums[2 * t], eight_sums)), acc[2 * t]);
        acc[2 * t + 1] = _mm256_fmadd_ps(_mm256_mul_ps(d_high, d_x),
                                         _mm256_cvtepi32_ps(Unbias(sums[2 * t + 1], eight_sums)),
                                         acc[2 * t + 1]);
      }
    }
    for (int t = 0; t < kN; ++t)
      StoreResults(args.out + (first + t) * args.out_stride, args.n_rows, acc[2 * t],
                   acc[2 * t + 1]);
  }
};

struct GemvQ4_0 {
  static constexpr ActForm kForm = ActForm::kBlocks32;
  static constexpr int kBlock = 32;

  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    const __m256i ones = _mm256_set1_epi16(1), nibble = _mm256_set1_epi8(0x0F);
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b) {
      const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ4_0);
      const __m256i q = LoadBytes(x.q + b * 32);
      __m256i products[8];
      for (int r = 0; r < 8; ++r) {
        const __m128i bytes = LoadHalf(rows.p[r] + offset + 2);
        const __m256i both =
            _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
        products[r] =
            _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_and_si256(both, nibble), q), ones);
      }
      Prefetch<8 * sizeof(BlockQ4_0)>(next);
      next += 8 * sizeof(BlockQ4_0);
      const __m256i exact = _mm256_sub_epi32(SumLanes(products), _mm256_set1_epi32(8 * x.sum[b]));
      const __m256 d = _mm256_mul_ps(LoadScales(rows, offset), _mm256_set1_ps(x.d[b]));
      acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(exact), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ4_0(KernelTable& table) {
  table.matrix[static_cast<size_t>(Compute::kFast)][Index(DType::kQ4_0)] = {
      ActForm::kBlocks32,
      {&QuantizeBlocks32, Isa::kAvx2},
      {&PackTile, Isa::kAvx2},
      {&GemmTile<GemmQ4_0>, Isa::kAvx2},
      {&GemvRows<GemvQ4_0>, Isa::kAvx2},
      &TileBytes};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
