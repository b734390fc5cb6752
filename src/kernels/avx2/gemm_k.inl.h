// SPDX-License-Identifier: Apache-2.0
// The tile and the gemm of blocks of 256 with unsigned weights: Q2_K to Q6_K. Included inside the
// anonymous namespace of avx2/matmul_k*.cc after tile.inl.h; each type brings its constants and its
// packing.
//
// DEFINITION  S = sum_j sc_j * sum(w * q) and O = sum of offsets times sums of q, exact in int32:
//             minimums: acc = fma(d * d_x, S, acc); acc = fma(-(dmin * d_x), O, acc)
//             else:     acc = fma(d * d_x, S - O * 2^kOffsetShift, acc)
// ASSUMES     |q| <= 127; kSteps products of vpmaddubsw fit int16, see docs/kernels.md
#pragma once

/// One block of 16 rows. Pairs share a 32-bit lane, as vpmaddwd wants them.
template <int kScales, int kPairs>
struct alignas(64) TileK {
  float d[16], dmin[16];          // dmin: with minimums
  int16_t scale[kScales][16][2];  // sub-block j: (sc_j, sc_j)
  int16_t offset[kPairs][16][2];  // meet the pairs of sums of q: minimums, or scales again
  uint8_t q[64][16][4];           // columns 4 g .. 4 g + 3
};

/// Type: Tile, kScales, kPairs, kSteps (products added in int16: 8, 4 or 2), kMinimums,
/// kOffsetShift, Pairs(sums of q of a block, int32 pairs[kPairs]).
template <class Type>
struct GemmK {
  using Tile = typename Type::Tile;
  static constexpr ActForm kForm = ActForm::kBlocks256;
  static constexpr int kSteps = Type::kSteps, kPerScale = 64 / Type::kScales;
  // Six: twelve int16 sums, two weights and one activation fill the registers, the totals wait in
  // memory. Four, where int16 is full after two products: eight totals and four weights.
  static constexpr int kTokens = kSteps > 2 ? 6 : 4;

  /// S of one block: total[2 t], total[2 t + 1] for rows 0..7, 8..15 of token t.
  template <int kN>
  static inline void Products(const Tile& tile, const int8_t* const* q, __m256i* total) {
    for (int i = 0; i < 2 * kN; ++i) total[i] = _mm256_setzero_si256();
    for (int from = 0; from < 64; from += kSteps) {
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
      const auto& scale = tile.scale[from / kPerScale];
      const __m256i scale_low = LoadBytes(scale[0]), scale_high = LoadBytes(scale[8]);
      for (int t = 0; t < kN; ++t) {
        total[2 * t] = _mm256_add_epi32(total[2 * t], _mm256_madd_epi16(sums[2 * t], scale_low));
        total[2 * t + 1] =
            _mm256_add_epi32(total[2 * t + 1], _mm256_madd_epi16(sums[2 * t + 1], scale_high));
      }
    }
  }

  /// The same where only two products fit: token after token.
  template <int kN>
  static inline void ProductsByTwo(const Tile& tile, const int8_t* const* q, __m256i* total) {
    for (int i = 0; i < 2 * kN; ++i) total[i] = _mm256_setzero_si256();
    for (int g = 0; g < 64; g += 2) {
      const __m256i low0 = LoadBytes(tile.q[g][0]), low1 = LoadBytes(tile.q[g + 1][0]);
      const __m256i high0 = LoadBytes(tile.q[g][8]), high1 = LoadBytes(tile.q[g + 1][8]);
      const auto& scale = tile.scale[g / kPerScale];
      for (int t = 0; t < kN; ++t) {
        const __m256i x0 = Broadcast4(q[t] + g * 4), x1 = Broadcast4(q[t] + g * 4 + 4);
        const __m256i low =
            _mm256_add_epi16(_mm256_maddubs_epi16(low0, x0), _mm256_maddubs_epi16(low1, x1));
        const __m256i high =
            _mm256_add_epi16(_mm256_maddubs_epi16(high0, x0), _mm256_maddubs_epi16(high1, x1));
        total[2 * t] = _mm256_add_epi32(total[2 * t], _mm256_madd_epi16(low, LoadBytes(scale[0])));
        total[2 * t + 1] =
            _mm256_add_epi32(total[2 * t + 1], _mm256_madd_epi16(high, LoadBytes(scale[8])));
        Pin(total[2 * t], total[2 * t + 1]);
      }
    }
  }

  /// acc of eight rows and one token after one block.
  static inline __m256 Accumulate(const Tile& tile, int first, __m256i products,
                                  const int32_t* pairs, __m256 d_x, __m256 acc) {
    __m256i offsets = _mm256_setzero_si256();
    for (int k = 0; k < Type::kPairs; ++k)
      offsets = _mm256_add_epi32(offsets, _mm256_madd_epi16(LoadBytes(tile.offset[k][first]),
                                                            _mm256_set1_epi32(pairs[k])));
    const __m256 d = _mm256_mul_ps(_mm256_load_ps(tile.d + first), d_x);
    if constexpr (Type::kMinimums) {
      const __m256 dmin = _mm256_mul_ps(_mm256_load_ps(tile.dmin + first), d_x);
      acc = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(products), acc);
      return _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(offsets), acc);
    }
    const __m256i exact =
        _mm256_sub_epi32(products, _mm256_slli_epi32(offsets, Type::kOffsetShift));
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
    const auto* tile = static_cast<const Tile*>(args.tile);
    for (int b = 0; b < args.cols / 256; ++b) {
      const int8_t* q[kN];
      for (int t = 0; t < kN; ++t) q[t] = x[t].q + b * 256;
      __m256i total[2 * kN];
      if constexpr (kSteps > 2) {
        Products<kN>(tile[b], q, total);
      } else {
        ProductsByTwo<kN>(tile[b], q, total);
      }
      for (int t = 0; t < kN; ++t) {
        alignas(32) int32_t pairs[Type::kPairs];
        Type::Pairs(x[t].sum + b * 16, pairs);
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
