// SPDX-License-Identifier: Apache-2.0
// AVX2 Q8_0 products; bitwise the same as scalar/matmul_q8_0.cc, which defines them.
//
// SHAPES      weights Q8_0 [n_rows, cols], activations kBlocks32, out [n_tokens, n_rows];
//             tile TileQ8_0 [cols / 32] of 16 rows
// DEFINITION  acc = 0; per block of 32, ascending: acc = fma(d_w * d_x, float(sum(w * q)), acc)
// ASSUMES     |q| <= 127, w any int8. gemm: int16 pairs, one vpmaddwd gives at most
//             2 * 128 * 127 = 32512, the sixteen of a block 520 192. vpmaddubsw would need vpsignb
//             for every weight and activation and could not add a second product in int16 (65024),
//             so it comes to the same number of instructions, more of them on the multipliers.
//             gemv: |w| (at most 128, unsigned) times q with the sign of w, at most 32512 < 2^15.
// EXAMPLE     8x7B gate: 896 tiles of [16, 4096]; one tile is 136 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q8_0.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

/// One block of 16 rows.
struct alignas(64) TileQ8_0 {
  float d[16];
  int16_t q[16][16][2];  // columns 2 g, 2 g + 1
};
static_assert(sizeof(TileQ8_0) == 1088);

size_t TileBytes(int cols) noexcept { return static_cast<size_t>(cols) / 32 * sizeof(TileQ8_0); }

/// Bytes a and a + 1 of every lane, sign-extended to the pair of int16.
inline __m256i SignedPair(__m256i bytes, int a) {
  const __m256i from =
      _mm256_add_epi32(_mm256_set1_epi32(0x00800080 | a << 8 | (a + 1) << 24),  // 0x80: a zero byte
                       _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0C000C00, 0, 0x04000400,
                                         0x08000800, 0x0C000C00));
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, from), 8);
}

/// Block b of eight rows into rows first .. first + 7 of its tile.
inline void PackEight(const EightRows& rows, int b, int first, TileQ8_0* tile) {
  const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ8_0);
  _mm256_store_ps(tile->d + first, LoadScales(rows, offset));
  __m256i column[8];
  LoadColumns8(rows, offset + 2, column);
  for (int g = 0; g < 8; ++g) {
    StoreBytes(tile->q[2 * g][first], SignedPair(column[g], 0));
    StoreBytes(tile->q[2 * g + 1][first], SignedPair(column[g], 2));
  }
}

void PackTile(const PackTileArgs& args) noexcept {
  const EightRows low = RowsFrom(args.weights, args.row_bytes, 0, args.n_rows);
  const EightRows high = RowsFrom(args.weights, args.row_bytes, 8, args.n_rows);
  auto next = reinterpret_cast<uintptr_t>(args.weights) + kTileRows * args.row_bytes;
  for (int b = 0; b < args.cols / 32; ++b) {
    auto* tile = static_cast<TileQ8_0*>(args.tile) + b;
    PackEight(low, b, 0, tile);
    PackEight(high, b, 8, tile);
    Prefetch<kTileRows * sizeof(BlockQ8_0)>(next);
    next += kTileRows * sizeof(BlockQ8_0);
  }
}

struct GemmQ8_0 {
  static constexpr ActForm kForm = ActForm::kBlocks32;
  static constexpr int kTokens = 6;  // twelve totals, two weights and one activation: 15 registers

  /// One block: total[2 t], total[2 t + 1] for rows 0..7, 8..15 of token t.
  template <int kN>
  static inline void Products(const TileQ8_0& tile, const int8_t* const* q, __m256i* total) {
    alignas(32) int16_t wide[kN][32];
    for (int t = 0; t < kN; ++t) {
      StoreBytes(wide[t], _mm256_cvtepi8_epi16(LoadHalf(q[t])));
      StoreBytes(wide[t] + 16, _mm256_cvtepi8_epi16(LoadHalf(q[t] + 16)));
    }
    // The pairs are to be read back from memory: shuffling them out of registers costs three times
    // the instructions (GCC 12: half the speed).
    __asm__ volatile("" : : "r"(wide) : "memory");
    for (int i = 0; i < 2 * kN; ++i) total[i] = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {
      const __m256i low = LoadBytes(tile.q[g][0]), high = LoadBytes(tile.q[g][8]);
      for (int t = 0; t < kN; ++t) {
        const __m256i x = Broadcast4(wide[t] + g * 2);
        total[2 * t] = _mm256_add_epi32(total[2 * t], _mm256_madd_epi16(low, x));
        total[2 * t + 1] = _mm256_add_epi32(total[2 * t + 1], _mm256_madd_epi16(high, x));
        Pin(total[2 * t], total[2 * t + 1]);
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
    const auto* tile = static_cast<const TileQ8_0*>(args.tile);
    for (int b = 0; b < args.cols / 32; ++b) {
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 32;
      __m256i total[2 * kN];
      Products<kN>(tile[b], q, total);
      const __m256 d_low = _mm256_load_ps(tile[b].d), d_high = _mm256_load_ps(tile[b].d + 8);
      for (int t = 0; t < kN; ++t) {
        const __m256 d_x = _mm256_set1_ps(x[t].d[b]);
        acc[2 * t] = _mm256_fmadd_ps(_mm256_mul_ps(d_low, d_x), _mm256_cvtepi32_ps(total[2 * t]),
                                     acc[2 * t]);
        acc[2 * t + 1] = _mm256_fmadd_ps(_mm256_mul_ps(d_high, d_x),
                                         _mm256_cvtepi32_ps(total[2 * t + 1]), acc[2 * t + 1]);
      }
    }
    for (int t = 0; t < kN; ++t)
      StoreResults(args.out + (first + t) * args.out_stride, args.n_rows, acc[2 * t],
                   acc[2 * t + 1]);
  }
};

struct GemvQ8_0 {
  static constexpr ActForm kForm = ActForm::kBlocks32;
  static constexpr int kBlock = 32;

  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b) {
      const size_t offset = static_cast<size_t>(b) * sizeof(BlockQ8_0);
      const __m256i q = LoadBytes(x.q + b * 32);
      __m256i products[8];
      for (int r = 0; r < 8; ++r) {
        const __m256i w = LoadBytes(rows.p[r] + offset + 2);
        products[r] = _mm256_madd_epi16(
            _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w)), ones);
      }
      Prefetch<8 * sizeof(BlockQ8_0)>(next);
      next += 8 * sizeof(BlockQ8_0);
      const __m256 d = _mm256_mul_ps(LoadScales(rows, offset), _mm256_set1_ps(x.d[b]));
      acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(SumLanes(products)), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ8_0(KernelTable& table) {
  table.matrix[static_cast<size_t>(Compute::kFast)][Index(DType::kQ8_0)] = {
      ActForm::kBlocks32,
      {&QuantizeBlocks32, Isa::kAvx2},
      {&PackTile, Isa::kAvx2},
      {&GemmTile<GemmQ8_0>, Isa::kAvx2},
      {&GemvRows<GemvQ8_0>, Isa::kAvx2},
      &TileBytes};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
