// SPDX-License-Identifier: Apache-2.0
// AVX2 products of Q8_0, IQ4_NL and IQ4_XS, whose weights need all of a signed byte; bitwise the
// same as scalar/matmul_blocks.cc, which defines them.
//
// SHAPES      weights [n_rows, cols], activations kBlocks32 (IQ4_XS: kBlocks256),
//             out [n_tokens, n_rows]; tile TileSigned [blocks] of 16 rows
// DEFINITION  acc = 0; per block, ascending: acc = fma(d * d_x, float(S), acc), where
//             S = sum(w * q), for IQ4_XS sum_j sc_j * sum(w * q) over sub-blocks j of 32
// ASSUMES     |q| <= 127, w any int8, |sc_j| <= 32. gemm: int16 pairs, one vpmaddwd gives at most
//             2 * 128 * 127 = 32512, the sixteen of a block 520 192; for IQ4_XS the tile has
//             sc_j * w, at most 32 * 127 = 4064, and 128 products 132 128 768. vpmaddubsw would
//             need vpsignb for every weight and activation and could not add a second product in
//             int16 (65024), so it comes to the same number of instructions, more of them on the
//             multipliers. gemv: |w| (at most 128, unsigned) times q with the sign of w, at most
//             32512 < 2^15.
// EXAMPLE     8x7B gate: 896 tiles of [16, 4096]; one tile is 136 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_iq4_nl.h"
#include "tensor/block_iq4_xs.h"
#include "tensor/block_q8_0.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

/// One block of 16 rows.
template <int kElements>
struct alignas(64) TileSigned {
  float d[16];
  int16_t q[kElements / 2][16][2];  // columns 2 g, 2 g + 1
};

/// Bytes a and a + 1 of every lane, sign-extended to the pair of int16.
inline __m256i SignedPair(__m256i bytes, int a) {
  const __m256i from =
      _mm256_add_epi32(_mm256_set1_epi32(0x00800080 | a << 8 | (a + 1) << 24),  // 0x80: a zero byte
                       _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0C000C00, 0, 0x04000400,
                                         0x08000800, 0x0C000C00));
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, from), 8);
}
/// Values of kIQ4Values for the low nibbles.
inline __m256i LookUp(__m256i nibbles) {
  const __m256i values =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kIQ4Values)));
  return _mm256_shuffle_epi8(values, _mm256_and_si256(nibbles, _mm256_set1_epi8(0x0F)));
}
/// 32 weights of 16 bytes of nibbles.
inline __m256i LookUpRow(const std::byte* qs) {
  const __m128i bytes = LoadHalf(qs);
  return LookUp(
      _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1));
}
/// 16 bytes of nibbles of eight rows -> their 32 columns, four columns a vector.
inline void LookUpColumns(const EightRows& rows, size_t offset, __m256i* column) {
  LoadColumns4(rows, offset, column);
  for (int g = 0; g < 4; ++g) {
    column[4 + g] = LookUp(_mm256_srli_epi16(column[g], 4));
    column[g] = LookUp(column[g]);
  }
}

// Each type: Columns: the 32 columns of sub-block j of eight rows; Row: those of one row. Scales:
// of the sub-blocks of eight rows, pairs of int16 in a lane; nothing for blocks of 32.

struct TypeQ8_0 {
  using BlockOf = BlockQ8_0;
  static inline void Columns(const EightRows& rows, size_t offset, int, __m256i* column) {
    LoadColumns8(rows, offset + offsetof(BlockQ8_0, qs), column);
  }
  static inline __m256i Row(const std::byte* block, int) {
    return LoadBytes(block + offsetof(BlockQ8_0, qs));
  }
};

struct TypeIQ4NL {
  using BlockOf = BlockIQ4NL;
  static inline void Columns(const EightRows& rows, size_t offset, int, __m256i* column) {
    LookUpColumns(rows, offset + offsetof(BlockIQ4NL, qs), column);
  }
  static inline __m256i Row(const std::byte* block, int) {
    return LookUpRow(block + offsetof(BlockIQ4NL, qs));
  }
};

struct TypeIQ4XS {
  using BlockOf = BlockIQ4XS;
  static inline void Columns(const EightRows& rows, size_t offset, int j, __m256i* column) {
    LookUpColumns(rows, offset + offsetof(BlockIQ4XS, qs) + static_cast<size_t>(j) * 16, column);
  }
  static inline __m256i Row(const std::byte* block, int j) {
    return LookUpRow(block + offsetof(BlockIQ4XS, qs) + j * 16);
  }
  static inline void Scales(const EightRows& rows, size_t offset, __m256i* scale) {
    __m256i high = _mm256_srli_epi32(LoadWords(rows, offset), 16);
    __m256i low = LoadWords(rows, offset + offsetof(BlockIQ4XS, scales_l));
    for (int j = 0; j < 8; ++j) {
      const __m256i top = _mm256_and_si256(high, _mm256_set1_epi32(3));
      const __m256i bits =
          _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)), _mm256_slli_epi32(top, 4));
      const __m256i pair = _mm256_or_si256(bits, _mm256_slli_epi32(bits, 16));
      scale[j] = _mm256_sub_epi16(pair, _mm256_set1_epi16(32));
      high = _mm256_srli_epi32(high, 2);
      low = _mm256_srli_epi32(low, 4);
    }
  }
};

/// A type made ready for PackTile.
template <class TypeOf>
struct Signed : TypeOf {
  static constexpr int kElements = TypeOf::BlockOf::kElements, kSubs = kElements / 32;
  using Tile = TileSigned<kElements>;

  /// A block of eight rows into rows first .. first + 7 of its tile.
  static inline void PackEight(const EightRows& rows, size_t offset, int first, Tile* tile) {
    _mm256_store_ps(tile->d + first, LoadScales(rows, offset));
    __m256i scale[kSubs];
    if constexpr (kSubs > 1) TypeOf::Scales(rows, offset, scale);
    for (int j = 0; j < kSubs; ++j) {
      __m256i column[8];
      TypeOf::Columns(rows, offset, j, column);
      for (int g = 0; g < 16; ++g) {
        __m256i pair = SignedPair(column[g / 2], g % 2 * 2);
        if constexpr (kSubs > 1) pair = _mm256_mullo_epi16(pair, scale[j]);
        StoreBytes(tile->q[j * 16 + g][first], pair);
      }
    }
  }
};

template <class Type>
struct Gemm {
  static constexpr ActForm kForm = Type::kElements == 32 ? ActForm::kBlocks32 : ActForm::kBlocks256;
  static constexpr int kTokens = 6;  // twelve totals, two weights and one activation: 15 registers

  /// 32 columns: adds to total[2 t], total[2 t + 1] for rows 0..7, 8..15 of token t.
  template <int kN>
  static inline void AddProducts(const int16_t (*w)[16][2], const ActParts* x, int column,
                                 __m256i* total) {
    alignas(32) int16_t wide[kN][32];
    for (int t = 0; t < kN; ++t) {
      const int8_t* q = x[t].q + column;
      StoreBytes(wide[t], _mm256_cvtepi8_epi16(LoadHalf(q)));
      StoreBytes(wide[t] + 16, _mm256_cvtepi8_epi16(LoadHalf(q + 16)));
    }
    // The pairs are to be read back from memory: shuffling them out of registers costs three times
    // the instructions (GCC 12: half the speed).
    __asm__ volatile("" : : "r"(wide) : "memory");
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {
      const __m256i low = LoadBytes(w[g][0]), high = LoadBytes(w[g][8]);
      for (int t = 0; t < kN; ++t) {
        const __m256i pair = Broadcast4(wide[t] + g * 2);
        total[2 * t] = _mm256_add_epi32(total[2 * t], _mm256_madd_epi16(low, pair));
        total[2 * t + 1] = _mm256_add_epi32(total[2 * t + 1], _mm256_madd_epi16(high, pair));
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
    const auto* tile = static_cast<const typename Type::Tile*>(args.tile);
    for (int b = 0; b < args.cols / Type::kElements; ++b, ++tile) {
      __m256i total[2 * kN];
      for (int i = 0; i < 2 * kN; ++i) total[i] = _mm256_setzero_si256();
      for (int j = 0; j < Type::kSubs; ++j)
        AddProducts<kN>(tile->q + j * 16, x, b * Type::kElements + j * 32, total);
      const __m256 d_low = _mm256_load_ps(tile->d), d_high = _mm256_load_ps(tile->d + 8);
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

template <class Type>
struct Gemv {
  static constexpr ActForm kForm = Gemm<Type>::kForm;
  static constexpr int kBlock = Type::kElements;

  /// S of one row and one block, spread over eight lanes. scale: pairs [sub-block][8 rows].
  static inline __m256i RowProducts(const std::byte* block, const int32_t* scale, const int8_t* q) {
    __m256i total = _mm256_setzero_si256();
    for (int j = 0; j < Type::kSubs; ++j) {
      const __m256i w = Type::Row(block, j);
      const __m256i products =
          _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(LoadBytes(q + j * 32), w));
      const __m256i factor = Type::kSubs > 1 ? Broadcast4(scale + j * 8) : _mm256_set1_epi16(1);
      total = _mm256_add_epi32(total, _mm256_madd_epi16(products, factor));
    }
    return total;
  }

  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    constexpr size_t kBytes = sizeof(typename Type::BlockOf);
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b) {
      const size_t offset = static_cast<size_t>(b) * kBytes;
      alignas(32) int32_t scale[Type::kSubs][8];
      if constexpr (Type::kSubs > 1) {
        __m256i pairs[Type::kSubs];
        Type::Scales(rows, offset, pairs);
        for (int j = 0; j < Type::kSubs; ++j) StoreBytes(scale[j], pairs[j]);
      }
      __m256i products[8];
      for (int r = 0; r < 8; ++r)
        products[r] = RowProducts(rows.p[r] + offset, scale[0] + r, x.q + b * Type::kElements);
      Prefetch<8 * kBytes>(next);
      next += 8 * kBytes;
      const __m256 d = _mm256_mul_ps(LoadScales(rows, offset), _mm256_set1_ps(x.d[b]));
      acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(SumLanes(products)), acc);
    }
    return acc;
  }
};

template <class TypeOf>
void InstallType(KernelTable& table, QuantizeRowsFn* quantize) {
  using T = Signed<TypeOf>;
  InstallMatrix<T, Gemm<T>, Gemv<T>>(table, quantize);
}

}  // namespace

void InstallSigned(KernelTable& table) {
  InstallType<TypeQ8_0>(table, &QuantizeBlocks32);
  InstallType<TypeIQ4NL>(table, &QuantizeBlocks32);
  InstallType<TypeIQ4XS>(table, &QuantizeBlocks256);
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
