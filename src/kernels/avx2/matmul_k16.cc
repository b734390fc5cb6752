// SPDX-License-Identifier: Apache-2.0
// AVX2 products of Q2_K, Q3_K and Q6_K: sub-blocks of 16; bitwise the same as
// scalar/matmul_blocks.cc, which defines them.
//
// SHAPES      weights [n_rows, cols], activations kBlocks256, out [n_tokens, n_rows];
//             tile TileK [cols / 256] of 16 rows
// DEFINITION  acc = 0; per block of 256, ascending, with sub-blocks j of 16, w unsigned:
//             Q6_K: S = sum_j sc_j * (sum(w * q) - 32 * sum(q)); acc = fma(d * d_x, float(S), acc)
//             Q3_K: the same with 4 in place of 32
//             Q2_K: S = sum_j sc_j * sum(w * q), M = sum_j m_j * sum(q);
//             acc = fma(d * d_x, float(S), acc); acc = fma(-(dmin * d_x), float(M), acc)
// ASSUMES     |q| <= 127. Exact because: w stays unsigned, one vpmaddubsw gives at most
//             2 * 63 * 127 = 16002 and two of them 32004 < 2^15 (Q6_K), 2 * 7 * 127 = 1778 and four
//             of them 7112 (Q3_K; Q2_K has less); times 128, in pairs, over 256 columns
//             262 144 000 < 2^31; the other term, 32 * sum_j sc_j * sum(q), at most 133 169 152.
// EXAMPLE     8x7B output head: 2000 tiles of [16, 4096]; one tile is 92 KB, in L2
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/block_q2_k.h"
#include "tensor/block_q3_k.h"
#include "tensor/block_q6_k.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/tile.inl.h"

#include "kernels/avx2/gemm_k.inl.h"

/// 128 columns: four runs of 32.
struct Runs {
  __m256i run[4];
};
/// Bits 2 r, 2 r + 1 of every byte, for r = 0..3.
inline Runs TwoBits(__m256i bytes) {
  const __m256i two = _mm256_set1_epi8(3);
  return {{_mm256_and_si256(bytes, two), _mm256_and_si256(_mm256_srli_epi16(bytes, 2), two),
           _mm256_and_si256(_mm256_srli_epi16(bytes, 4), two),
           _mm256_and_si256(_mm256_srli_epi16(bytes, 6), two)}};
}

// Each type: where its parts are; the 32-byte planes that hold a half of 128 columns, and how to
// decode them (the same for planes of one row and for columns of eight rows); its scales.

struct TypeQ6K {
  using BlockOf = BlockQ6K;
  static constexpr int kSteps = 2, kOffsetShift = 5, kPlanes = 3;
  static constexpr bool kMinimums = false;
  static size_t Plane(int half, int i) {
    return i < 2 ? static_cast<size_t>(half * 64 + i * 32)
                 : offsetof(BlockQ6K, qh) + static_cast<size_t>(half) * 32;
  }
  static inline Runs Decode(const __m256i* plane, int) {
    const __m256i four = _mm256_set1_epi8(0x0F), two = _mm256_set1_epi8(0x30), high = plane[2];
    Runs r;
    r.run[0] = _mm256_or_si256(_mm256_and_si256(plane[0], four),
                               _mm256_and_si256(_mm256_slli_epi16(high, 4), two));
    r.run[1] = _mm256_or_si256(_mm256_and_si256(plane[1], four),
                               _mm256_and_si256(_mm256_slli_epi16(high, 2), two));
    r.run[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(plane[0], 4), four),
                               _mm256_and_si256(high, two));
    r.run[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(plane[1], 4), four),
                               _mm256_and_si256(_mm256_srli_epi16(high, 2), two));
    return r;
  }
  static inline __m128i Scales(const std::byte* block) {
    return LoadHalf(block + offsetof(BlockQ6K, scales));
  }
  static inline __m128i Offsets(const std::byte* block) { return Scales(block); }
};

struct TypeQ3K {
  using BlockOf = BlockQ3K;
  static constexpr int kSteps = 4, kOffsetShift = 2, kPlanes = 2;
  static constexpr bool kMinimums = false;
  static size_t Plane(int half, int i) {
    return i == 0 ? offsetof(BlockQ3K, qs) + static_cast<size_t>(half) * 32 : 0;
  }
  static inline Runs Decode(const __m256i* plane, int half) {
    const __m256i third = _mm256_set1_epi8(4);
    const __m256i high = half == 0 ? plane[1] : _mm256_srli_epi16(plane[1], 4);
    Runs r = TwoBits(plane[0]);
    r.run[0] = _mm256_or_si256(r.run[0], _mm256_and_si256(_mm256_slli_epi16(high, 2), third));
    r.run[1] = _mm256_or_si256(r.run[1], _mm256_and_si256(_mm256_slli_epi16(high, 1), third));
    r.run[2] = _mm256_or_si256(r.run[2], _mm256_and_si256(high, third));
    r.run[3] = _mm256_or_si256(r.run[3], _mm256_and_si256(_mm256_srli_epi16(high, 1), third));
    return r;
  }
  static inline __m128i Scales(const std::byte* block) {
    // Bytes 94..109, so as not to read beyond the block: scales are bytes 2..13 of these.
    const __m128i bytes = LoadHalf(block + offsetof(BlockQ3K, scales) - 2);
    const __m128i eight = _mm_srli_si128(bytes, 2), four = _mm_set1_epi8(0x0F);
    const __m128i low = _mm_and_si128(_mm_unpacklo_epi64(eight, _mm_srli_epi16(eight, 4)), four);
    const __m128i top = _mm_shuffle_epi8(
        bytes, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const __m128i high =
        _mm_and_si128(_mm_srlv_epi32(top, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
  }
  static inline __m128i Offsets(const std::byte* block) { return Scales(block); }
};

struct TypeQ2K {
  using BlockOf = BlockQ2K;
  static constexpr int kSteps = 4, kOffsetShift = 0, kPlanes = 1;
  static constexpr bool kMinimums = true;
  static size_t Plane(int half, int) {
    return offsetof(BlockQ2K, qs) + static_cast<size_t>(half) * 32;
  }
  static inline Runs Decode(const __m256i* plane, int) { return TwoBits(plane[0]); }
  static inline __m128i Scales(const std::byte* block) {
    return _mm_and_si128(LoadHalf(block), _mm_set1_epi8(0x0F));
  }
  static inline __m128i Offsets(const std::byte* block) {
    return _mm_and_si128(_mm_srli_epi16(LoadHalf(block), 4), _mm_set1_epi8(0x0F));
  }
};

/// Bytes a and b of every lane, sign-extended, as the pair (a, b) of int16.
inline __m256i SignedPair(__m256i bytes, int a, int b) {
  const __m256i from =
      _mm256_add_epi32(_mm256_set1_epi32(0x00800080 | a << 8 | b << 24),  // 0x80: a zero byte
                       _mm256_setr_epi32(0, 0x04000400, 0x08000800, 0x0C000C00, 0, 0x04000400,
                                         0x08000800, 0x0C000C00));
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, from), 8);
}

/// A type made ready for GemmK and PackTile.
template <class Type>
struct K16 : Type {
  static constexpr int kScales = 16, kPairs = 8;
  static constexpr size_t kD = offsetof(typename Type::BlockOf, d);
  using Tile = TileK<kScales, kPairs>;

  static inline void Pairs(const int16_t* sum, int32_t* pairs) {
    StoreBytes(pairs, LoadBytes(sum));
  }

  static inline void PackScales(const EightRows& rows, size_t offset, int first, Tile* tile) {
    _mm256_store_ps(tile->d + first, LoadScales(rows, offset + kD));
    if constexpr (Type::kMinimums)
      _mm256_store_ps(tile->dmin + first, LoadScales(rows, offset + kD + 2));
    alignas(16) std::byte scales[8][16], offsets[8][16];
    EightRows scale_rows, offset_rows;
    for (int r = 0; r < 8; ++r) {
      _mm_store_si128(reinterpret_cast<__m128i*>(scales[r]), Type::Scales(rows.p[r] + offset));
      _mm_store_si128(reinterpret_cast<__m128i*>(offsets[r]), Type::Offsets(rows.p[r] + offset));
      scale_rows.p[r] = scales[r];
      offset_rows.p[r] = offsets[r];
    }
    __m256i scale[4], other[4];
    LoadColumns4(scale_rows, 0, scale);
    LoadColumns4(offset_rows, 0, other);
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 4; ++k)
        StoreBytes(tile->scale[i * 4 + k][first], SignedPair(scale[i], k, k));
      StoreBytes(tile->offset[i * 2][first], SignedPair(other[i], 0, 1));
      StoreBytes(tile->offset[i * 2 + 1][first], SignedPair(other[i], 2, 3));
    }
  }

  /// A block of eight rows into rows first .. first + 7 of its tile.
  static inline void PackEight(const EightRows& rows, size_t offset, int first, Tile* tile) {
    PackScales(rows, offset, first, tile);
    for (int half = 0; half < 2; ++half) {
      __m256i column[Type::kPlanes][8];
      for (int i = 0; i < Type::kPlanes; ++i)
        LoadColumns8(rows, offset + Type::Plane(half, i), column[i]);
      for (int g = 0; g < 8; ++g) {
        __m256i plane[Type::kPlanes];
        for (int i = 0; i < Type::kPlanes; ++i) plane[i] = column[i][g];
        const Runs r = Type::Decode(plane, half);
        for (int i = 0; i < 4; ++i) StoreBytes(tile->q[half * 32 + i * 8 + g][first], r.run[i]);
      }
    }
  }
};

/// Sixteen values of int16 or int8 width are kept as (0 2 4 .. 14 | 1 3 .. 15): the two halves of
/// 32 columns then find their scales by the same shuffle in either 128-bit lane.
inline __m256i ByParity(__m128i bytes) {
  const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
}
inline __m256i SumsByParity(const int16_t* sum) {
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1,
                                         4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(LoadBytes(sum), order), 0xD8);
}

template <class Type>
struct GemvK16 {
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kBlock = 256;
  static constexpr size_t kBytes = sizeof(typename Type::BlockOf);

  /// S of one row and one block without offsets, spread over eight lanes.
  static inline __m256i RowProducts(const std::byte* block, const int8_t* q, __m256i scales) {
    __m256i total = _mm256_setzero_si256();
    for (int half = 0; half < 2; ++half) {
      __m256i plane[Type::kPlanes];
      for (int i = 0; i < Type::kPlanes; ++i) plane[i] = LoadBytes(block + Type::Plane(half, i));
      const Runs r = Type::Decode(plane, half);
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

  static __m256 Eight(const EightRows& rows, uintptr_t next, int n_blocks, const ActParts& x) {
    __m256 acc = _mm256_setzero_ps();
    for (int b = 0; b < n_blocks; ++b) {
      const size_t offset = static_cast<size_t>(b) * kBytes;
      const __m256i sums = SumsByParity(x.sum + b * 16);
      __m256i products[8], minimums[8];
      for (int r = 0; r < 8; ++r) {
        Prefetch<kBytes>(next);
        next += kBytes;
        const std::byte* block = rows.p[r] + offset;
        const __m256i scales = ByParity(Type::Scales(block));
        products[r] = RowProducts(block, x.q + b * 256, scales);
        if constexpr (Type::kMinimums) {
          minimums[r] = _mm256_madd_epi16(ByParity(Type::Offsets(block)), sums);
        } else {
          products[r] = _mm256_sub_epi32(
              products[r], _mm256_slli_epi32(_mm256_madd_epi16(scales, sums), Type::kOffsetShift));
        }
      }
      const __m256 d_x = _mm256_set1_ps(x.d[b]);
      const __m256 d = _mm256_mul_ps(LoadScales(rows, offset + Type::kD), d_x);
      acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(SumLanes(products)), acc);
      if constexpr (Type::kMinimums) {
        const __m256 dmin = _mm256_mul_ps(LoadScales(rows, offset + Type::kD + 2), d_x);
        acc = _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(SumLanes(minimums)), acc);
      }
    }
    return acc;
  }
};

template <class Type>
void InstallType(KernelTable& table) {
  InstallMatrix<K16<Type>, GemmK<K16<Type>>, GemvK16<K16<Type>>>(table, &QuantizeBlocks256);
}

}  // namespace

void InstallK16(KernelTable& table) {
  InstallType<TypeQ2K>(table);
  InstallType<TypeQ3K>(table);
  InstallType<TypeQ6K>(table);
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
