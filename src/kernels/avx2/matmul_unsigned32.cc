// SPDX-License-Identifier: Apache-2.0
// AVX2 products of Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 whose weights stay unsigned; bitwise the
// same as scalar/matmul_blocks.cc, which defines them.
//
// SHAPES      weights [n_rows, cols], activations kBlocks32, out [n_tokens, n_rows];
//             tile TileUnsigned [cols / 32] of 16 rows
// DEFINITION  acc = 0; per block of 32, ascending, w unsigned:
//             Q4_0, Q5_0: acc = fma(d_w * d_x, float(sum(w * q) - offset * sum(q)), acc), offset 8
//             or 16
//             Q4_1, Q5_1: acc = fma(d_w * d_x, float(sum(w * q)), acc);
//             acc = fma(m_w * d_x, float(sum(q)), acc)
// ASSUMES     |q| <= 127. Exact because: one vpmaddubsw gives at most 2 * 15 * 127 = 3810, the
// eight
//             of a block 30480 < 2^15; with five bits 7874, four of them 31496.
// EXAMPLE     8x7B gate: 896 tiles of [16, 4096]; one tile is 80 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q4_0.h"
#include "tensor/block_q4_1.h"
#include "tensor/block_q5_0.h"
#include "tensor/block_q5_1.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

/// One block of 16 rows.
struct alignas(64) TileUnsigned {
  float d[16], m[16];   // m: of the types that have it
  uint8_t q[8][16][4];  // columns 4 g .. 4 g + 3
};

template <class BlockType, int kBitsOf>
struct Type {
  using BlockOf = BlockType;
  using Tile = TileUnsigned;
  static constexpr int kBits = kBitsOf, kOffset = 1 << (kBits - 1);
  static constexpr bool kMinimums = BlockType::kMinimums;
  static constexpr size_t kQs = offsetof(BlockType, qs), kQh = kQs - 4;  // qh: with five bits

  /// The weights of a block of eight rows, one row a lane: out[g] has columns 4 g .. 4 g + 3.
  static inline void Columns(const EightRows& rows, size_t offset, __m256i* out) {
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    __m256i column[4], high = _mm256_setzero_si256();  // low nibbles: columns 0..15, high: 16..31
    LoadColumns4(rows, offset + kQs, column);
    if constexpr (kBits == 5) high = LoadWords(rows, offset + kQh);
    for (int g = 0; g < 4; ++g) {
      out[g] = _mm256_and_si256(column[g], nibble);
      out[4 + g] = _mm256_and_si256(_mm256_srli_epi16(column[g], 4), nibble);
      if constexpr (kBits == 5) {
        out[g] = _mm256_or_si256(out[g], FifthBits(high, g));
        out[4 + g] = _mm256_or_si256(out[4 + g], FifthBits(high, 4 + g));
      }
    }
  }
  /// A block of eight rows into rows first .. first + 7 of its tile.
  static inline void PackEight(const EightRows& rows, size_t offset, int first, Tile* tile) {
    _mm256_store_ps(tile->d + first, LoadScales(rows, offset));
    if constexpr (kMinimums) _mm256_store_ps(tile->m + first, LoadScales(rows, offset + 2));
    __m256i column[8];
    Columns(rows, offset, column);
    for (int g = 0; g < 8; ++g) StoreBytes(tile->q[g][first], column[g]);
  }
  /// Bits 4 g .. 4 g + 3 of every lane as bit 4 of its four bytes.
  static inline __m256i FifthBits(__m256i words, int g) {
    const __m256i byte = _mm256_add_epi32(_mm256_set1_epi32(0x01010101 * (g / 2)),
                                          _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C,
                                                            0, 0x04040404, 0x08080808, 0x0C0C0C0C));
    const __m256i bit = _mm256_set1_epi32(g % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010u));
    const __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(words, byte), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), _mm256_set1_epi8(0x10));
  }

  /// acc of eight rows and one token after one block.
  static inline __m256 Accumulate(__m256 d, __m256 m, __m256i products, float d_x, int16_t sum,
                                  __m256 acc) {
    const __m256 factor = _mm256_set1_ps(d_x);
    if constexpr (kMinimums) {
      acc = _mm256_fmadd_ps(_mm256_mul_ps(d, factor), _mm256_cvtepi32_ps(products), acc);
      return _mm256_fmadd_ps(_mm256_mul_ps(m, factor), _mm256_set1_ps(sum), acc);
    }
    const __m256i exact = _mm256_sub_epi32(products, _mm256_set1_epi32(kOffset * sum));
    return _mm256_fmadd_ps(_mm256_mul_ps(d, factor), _mm256_cvtepi32_ps(exact), acc);
  }
};

template <class Type>
struct Gemm {
  static constexpr ActForm kForm = ActForm::kBlocks32;
  static constexpr int kTokens = 6;  // twelve sums, two weights and one activation: 15 registers
  static constexpr int kSteps = Type::kBits == 4 ? 8 : 4;

  /// One block: total[2 t], total[2 t + 1] for rows 0..7, 8..15 of token t.
  template <int kN>
  static inline void Products(const TileUnsigned& tile, const int8_t* const* q, __m256i* total) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int from = 0; from < 8; from += kSteps) {
      __m256i sums[2 * kN];
      for (int i = 0; i < 2 * kN; ++i) sums[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
      for (int g = from; g < from + kSteps; ++g) {
        const __m256i low = LoadBytes(tile.q[g][0]), high = LoadBytes(tile.q[g][8]);
        for (int t = 0; t < kN; ++t) {
          const __m256i x = Broadcast4(q[t] + g * 4);
          sums[2 * t] = _mm256_add_epi16(sums[2 * t], _mm256_maddubs_epi16(low, x));
          sums[2 * t + 1] = _mm256_add_epi16(sums[2 * t + 1], _mm256_maddubs_epi16(high, x));
          Pin(sums[2 * t], sums[2 * t + 1]);
        }
      }
      for (int i = 0; i < 2 * kN; ++i) {
        const __m256i wide = _mm256_madd_epi16(sums[i], ones);
        total[i] = from == 0 ? wide : _mm256_add_epi32(total[i], wide);
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
    const auto* tile = static_cast<const TileUnsigned*>(args.tile);
    for (int b = 0; b < args.cols / 32; ++b, ++tile) {
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 32;
      __m256i total[2 * kN];
      Products<kN>(*tile, q, total);
      for (int i = 0; i < 2 * kN; ++i) {
        const int row = i % 2 * 8, t = i / 2;
        acc[i] = Type::Accumulate(_mm256_load_ps(tile->d + row), _mm256_load_ps(tile->m + row),
                                  total[i], x[t].d[b], x[t].sum[b], acc[i]);
      }
    }
    for (int t = 0; t < kN; ++t)
      StoreResults(args.out + (first + t) * args.out_stride, args.n_rows, acc[2 * t],
                   acc[2 * t + 1]);
  }
};

/// Rows in lanes as in a tile, so that nothing is summed across lanes every 32 columns:
/// a quarter faster than multiplying each row along its columns (docs/kernels.md).
template <class Type>
struct Gemv {
  static constexpr ActForm kForm = ActForm::kBlocks32;
  static constexpr int kBlock = 32;
  static constexpr int kSteps = Type::kBits == 4 ? 8 : 4;  // products added in int16

  static inline __m256i Products(const __m256i* column, const int8_t* q) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i total = _mm256_setzero_si256();
    for (int from = 0; from < 8; from += kSteps) {
      __m256i sum = _mm256_maddubs_epi16(column[from], Broadcast4(q + from * 4));
      for (int g = from + 1; g < from + kSteps; ++g)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(column[g], Broadcast4(q + g * 4)));
      total = _mm256_add_epi32(total, _mm256_madd_epi16(sum, ones));
    }
    return total;
  }

  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    constexpr size_t kBytes = sizeof(typename Type::BlockOf);
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b) {
      const size_t offset = static_cast<size_t>(b) * kBytes;
      __m256i column[8];
      Type::Columns(rows, offset, column);
      const __m256i products = Products(column, x.q + b * 32);
      Prefetch<8 * kBytes>(next);
      next += 8 * kBytes;
      __m256 m = acc;
      if constexpr (Type::kMinimums) m = LoadScales(rows, offset + 2);
      acc = Type::Accumulate(LoadScales(rows, offset), m, products, x.d[b], x.sum[b], acc);
    }
    return acc;
  }
};

template <class Block, int kBits>
void InstallType(KernelTable& table) {
  using T = Type<Block, kBits>;
  InstallMatrix<T, Gemm<T>, Gemv<T>>(table, &QuantizeBlocks32);
}

}  // namespace

void InstallUnsigned32(KernelTable& table) {
  InstallType<BlockQ4_0, 4>(table);
  InstallType<BlockQ4_1, 4>(table);
  InstallType<BlockQ5_0, 5>(table);
  InstallType<BlockQ5_1, 5>(table);
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
