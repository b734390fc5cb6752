// SPDX-License-Identifier: Apache-2.0
// What the quantised products share: moving eight rows into lanes, adding across lanes, reading
// activations, writing 16 results. Included after target_begin.h, inside an anonymous namespace;
// the source includes <immintrin.h> and <cstring> before.
#pragma once

inline __m256i LoadBytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline __m128i LoadHalf(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline void StoreBytes(void* p, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(p), v); }
/// The same 4 bytes in every lane.
inline __m256i Broadcast4(const void* p) {
  int32_t bytes;
  std::memcpy(&bytes, p, 4);
  return _mm256_set1_epi32(bytes);
}
/// Asks for the cache lines of n bytes at p, which need not be memory of ours. gemv asks for the
/// next eight rows while it works on these: rows are too short for the processor's own prefetch to
/// get going (2304 bytes of Q4_K), and eight of them together are one run of memory.
template <size_t n>
inline void Prefetch(uintptr_t p) {
  for (size_t i = 0; i < n; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T0);
}

/// Holds two sums in registers here. Without it GCC 12 computes all products of an unrolled step
/// before it adds any, runs out of registers and halves the speed.
inline void Pin(__m256i& a, __m256i& b) { __asm__ volatile("" : "+x"(a), "+x"(b)); }

/// Eight file rows; those beyond the valid ones repeat the last valid row and are not written back.
struct EightRows {
  const std::byte* p[8];
};
inline EightRows RowsFrom(const void* weights, size_t row_bytes, int first, int n_rows) {
  EightRows rows;
  for (int i = 0; i < 8; ++i) {
    const int r = first + i < n_rows ? first + i : n_rows - 1;
    rows.p[i] = static_cast<const std::byte*>(weights) + static_cast<size_t>(r) * row_bytes;
  }
  return rows;
}

/// 16 bytes of each of eight rows -> out[i] = bytes 4 i .. 4 i + 3 of row r in 32-bit lane r.
inline void LoadColumns4(const EightRows& rows, size_t offset, __m256i* out) {
  __m256i pair[4];
  for (int i = 0; i < 4; ++i)
    pair[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(LoadHalf(rows.p[i] + offset)),
                                      LoadHalf(rows.p[i + 4] + offset), 1);
  const __m256i a = _mm256_unpacklo_epi32(pair[0], pair[1]);
  const __m256i b = _mm256_unpackhi_epi32(pair[0], pair[1]);
  const __m256i c = _mm256_unpacklo_epi32(pair[2], pair[3]);
  const __m256i d = _mm256_unpackhi_epi32(pair[2], pair[3]);
  out[0] = _mm256_unpacklo_epi64(a, c);
  out[1] = _mm256_unpackhi_epi64(a, c);
  out[2] = _mm256_unpacklo_epi64(b, d);
  out[3] = _mm256_unpackhi_epi64(b, d);
}
/// 32 bytes of each of eight rows -> out[0..7], as above.
inline void LoadColumns8(const EightRows& rows, size_t offset, __m256i* out) {
  LoadColumns4(rows, offset, out);
  LoadColumns4(rows, offset + 16, out + 4);
}

/// The 4 bytes at offset of each of eight rows, one row a lane.
inline __m256i LoadWords(const EightRows& rows, size_t offset) {
  int32_t word[8];
  for (int i = 0; i < 8; ++i) std::memcpy(&word[i], rows.p[i] + offset, 4);
  return _mm256_setr_epi32(word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]);
}

/// The f16 at offset of each of eight rows as f32.
inline __m256 LoadScales(const EightRows& rows, size_t offset) {
  uint16_t half[8];
  for (int i = 0; i < 8; ++i) std::memcpy(&half[i], rows.p[i] + offset, 2);
  return _mm256_cvtph_ps(_mm_set_epi16(
      static_cast<int16_t>(half[7]), static_cast<int16_t>(half[6]), static_cast<int16_t>(half[5]),
      static_cast<int16_t>(half[4]), static_cast<int16_t>(half[3]), static_cast<int16_t>(half[2]),
      static_cast<int16_t>(half[1]), static_cast<int16_t>(half[0])));
}

/// Lane r of the result is the sum of the eight lanes of v[r].
inline __m256i SumLanes(const __m256i* v) {
  const __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                          _mm256_permute2x128_si256(a, b, 0x31));
}

/// The first n of 16 results.
inline void StoreResults(float* out, int n, __m256 low, __m256 high) {
  if (n >= 16) {
    _mm256_storeu_ps(out, low);
    _mm256_storeu_ps(out + 8, high);
    return;
  }
  alignas(32) float results[16];
  _mm256_store_ps(results, low);
  _mm256_store_ps(results + 8, high);
  for (int i = 0; i < n; ++i) out[i] = results[i];
}

/// The parts of one quantised activation row.
struct ActParts {
  const int8_t* q;
  const float* d;
  const int16_t* sum;
};
inline ActParts PartsOf(const ActLayout& layout, const void* row) {
  const auto* p = static_cast<const std::byte*>(row);
  return {reinterpret_cast<const int8_t*>(p + layout.q),
          reinterpret_cast<const float*>(p + layout.d),
          reinterpret_cast<const int16_t*>(p + layout.sum)};
}
inline ActParts TokenParts(const GemmTileArgs& args, const ActLayout& layout, int token) {
  const int row = args.act_rows != nullptr ? args.act_rows[token] : token;
  return PartsOf(layout, static_cast<const std::byte*>(args.acts) +
                             static_cast<size_t>(row) * args.act_stride);
}

/// Runs Kernel::Block<n>(args, layout, first) over all tokens, in blocks of at most Kernel::kTokens
/// (<= 6) as even as can be: a block of one reads the tile for a fraction of the work.
template <class Kernel>
void GemmTile(const GemmTileArgs& args) noexcept {
  const ActLayout layout = LayoutOf(Kernel::kForm, args.cols);
  int n_blocks = (args.n_tokens + Kernel::kTokens - 1) / Kernel::kTokens;
  for (int t = 0; n_blocks > 0; --n_blocks) {
    const int n = (args.n_tokens - t + n_blocks - 1) / n_blocks;
    switch (n) {
      case 1:
        Kernel::template Block<1>(args, layout, t);
        break;
      case 2:
        Kernel::template Block<2>(args, layout, t);
        break;
      case 3:
        Kernel::template Block<3>(args, layout, t);
        break;
      case 4:
        Kernel::template Block<4>(args, layout, t);
        break;
      case 5:
        Kernel::template Block<5>(args, layout, t);
        break;
      default:
        Kernel::template Block<6>(args, layout, t);
        break;
    }
    t += n;
  }
}

inline ActParts TokenParts(const GemvRowsArgs& args, const ActLayout& layout, int token) {
  const int row = args.act_rows != nullptr ? args.act_rows[token] : token;
  return PartsOf(
      layout, static_cast<const std::byte*>(args.act) + static_cast<size_t>(row) * args.act_stride);
}

/// Gemv: kForm, kBlock and Eight(rows, address of the next rows, n_blocks, activation).
template <class Gemv>
void GemvRows(const GemvRowsArgs& args) noexcept {
  const ActParts x = PartsOf(LayoutOf(Gemv::kForm, args.cols), args.act);
  const int n_blocks = args.cols / Gemv::kBlock;
  const auto base = reinterpret_cast<uintptr_t>(args.weights);
  const __m256 low = Gemv::Eight(RowsFrom(args.weights, args.row_bytes, 0, args.n_rows),
                                 base + 8 * args.row_bytes, n_blocks, x);
  __m256 high = low;
  if (args.n_rows > 8)
    high = Gemv::Eight(RowsFrom(args.weights, args.row_bytes, 8, args.n_rows),
                       base + 16 * args.row_bytes, n_blocks, x);
  StoreResults(args.out, args.n_rows, low, high);
}

/// Gemv: kForm, kBlock, kTokens (<= 4) and Few<n>(rows, address of the next rows, n_blocks,
/// activations, acc), for n tokens that share what is done to the weights.
template <class Gemv, int kN>
void GemvFew(const GemvRowsArgs& args, int first) {
  const ActLayout layout = LayoutOf(Gemv::kForm, args.cols);
  ActParts x[kN];
  for (int t = 0; t < kN; ++t) x[t] = TokenParts(args, layout, first + t);
  const int n_blocks = args.cols / Gemv::kBlock;
  const auto next = reinterpret_cast<uintptr_t>(args.weights) + 8 * args.row_bytes;
  __m256 low[kN], high[kN] = {};
  Gemv::template Few<kN>(RowsFrom(args.weights, args.row_bytes, 0, args.n_rows), next, n_blocks, x,
                         low);
  if (args.n_rows > 8)
    Gemv::template Few<kN>(RowsFrom(args.weights, args.row_bytes, 8, args.n_rows),
                           next + 8 * args.row_bytes, n_blocks, x, high);
  for (int t = 0; t < kN; ++t)
    StoreResults(args.out + (first + t) * args.out_stride, args.n_rows, low[t], high[t]);
}
template <class Gemv>
void GemvTokens(const GemvRowsArgs& args) noexcept {
  int n_groups = (args.n_tokens + Gemv::kTokens - 1) / Gemv::kTokens;
  for (int t = 0; n_groups > 0; --n_groups) {
    const int n = (args.n_tokens - t + n_groups - 1) / n_groups;
    switch (n) {
      case 1:
        GemvFew<Gemv, 1>(args, t);
        break;
      case 2:
        GemvFew<Gemv, 2>(args, t);
        break;
      case 3:
        GemvFew<Gemv, 3>(args, t);
        break;
      default:
        GemvFew<Gemv, 4>(args, t);
        break;
    }
    t += n;
  }
}
template <class Gemv>
constexpr GemvRowsFn* GemvOf() {
  if constexpr (requires { Gemv::kTokens; })
    return &GemvTokens<Gemv>;
  else
    return &EachToken<&GemvRows<Gemv>>;
}

/// Type: BlockOf (the file's block), Tile (that of 16 rows) and PackEight(rows, offset of the
/// block, first row, tile).
template <class Type>
void PackTile(const PackTileArgs& args) noexcept {
  constexpr size_t kBytes = sizeof(typename Type::BlockOf);
  const EightRows low = RowsFrom(args.weights, args.row_bytes, 0, args.n_rows);
  const EightRows high = RowsFrom(args.weights, args.row_bytes, 8, args.n_rows);
  auto next = reinterpret_cast<uintptr_t>(args.weights) + kTileRows * args.row_bytes;
  auto* tile = static_cast<typename Type::Tile*>(args.tile);
  const int n_blocks = args.cols / Type::BlockOf::kElements;
  for (int b = 0; b < n_blocks; ++b, ++tile, next += kTileRows * kBytes) {
    Type::PackEight(low, static_cast<size_t>(b) * kBytes, 0, tile);
    Type::PackEight(high, static_cast<size_t>(b) * kBytes, 8, tile);
    Prefetch<kTileRows * kBytes>(next);
  }
}
template <class Type>
size_t TileBytes(int cols) noexcept {
  return static_cast<size_t>(cols) / Type::BlockOf::kElements * sizeof(typename Type::Tile);
}

template <class Type, class Gemm, class Gemv>
void InstallMatrix(KernelTable& table, QuantizeRowsFn* quantize) {
  table.matrix[static_cast<size_t>(Compute::kFast)][Index(Type::BlockOf::kDType)] = {
      Gemm::kForm,
      {quantize, Isa::kAvx2},
      {&PackTile<Type>, Isa::kAvx2},
      {&GemmTile<Gemm>, Isa::kAvx2},
      {GemvOf<Gemv>(), Isa::kAvx2},
      &TileBytes<Type>};
}
