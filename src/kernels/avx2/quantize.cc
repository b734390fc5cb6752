// SPDX-License-Identifier: Apache-2.0
// Activations into int8 blocks; bitwise the same as scalar/quantize.cc, which defines it.
//
// SHAPES      x float [n_rows, cols] -> out [n_rows] rows of LayoutOf(form, cols)
// ASSUMES     cols a multiple of the block. No limiting to +-127 is needed: x * (127 / amax) is at
//             most 127 * (1 + 2^-22), which rounds to 127.
// EXAMPLE     8x7B: rows of 4096 floats become 4096 int8 + 16 scales + 256 sums
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/float_bits.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {

/// max |x| of n floats (a multiple of 32) as bits: a NaN is above infinity, which is above all.
inline int32_t LargestMagnitudeBits(const float* x, int n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < n; i += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, magnitude));
  }
  __m128i four =
      _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
  return _mm_cvtsi128_si32(four);
}

inline __m256i RoundScaled(const float* x, __m256 inverse) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

/// 32 floats -> 32 int8, and the sums of the two halves of 16.
inline void Quantize32(const float* x, __m256 inverse, int8_t* q, int* sum_low, int* sum_high) {
  const __m256i a = _mm256_packs_epi32(RoundScaled(x, inverse), RoundScaled(x + 8, inverse));
  const __m256i b = _mm256_packs_epi32(RoundScaled(x + 16, inverse), RoundScaled(x + 24, inverse));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), packed);
  // Sums of bytes as unsigned: q + 128, hence 16 * 128 too many per half.
  const __m256i shifted = _mm256_xor_si256(packed, _mm256_set1_epi8(-128));
  const __m256i eights = _mm256_sad_epu8(shifted, _mm256_setzero_si256());
  const __m256i sixteens = _mm256_add_epi64(eights, _mm256_unpackhi_epi64(eights, eights));
  *sum_low = _mm_cvtsi128_si32(_mm256_castsi256_si128(sixteens)) - 16 * 128;
  *sum_high = _mm_cvtsi128_si32(_mm256_extracti128_si256(sixteens, 1)) - 16 * 128;
}

/// One block: q, its sums (kSumBlock values each) and the scale.
template <int kBlock, int kSumBlock>
inline float QuantizeBlock(const float* x, int8_t* q, int16_t* sum) {
  const auto amax_bits = static_cast<uint32_t>(LargestMagnitudeBits(x, kBlock));
  float amax;
  std::memcpy(&amax, &amax_bits, 4);
  const bool finite = amax_bits < 0x7F800000u;
  if (!finite || amax < 0x1p-100f) {
    std::memset(q, 0, kBlock);
    std::memset(sum, 0, kBlock / kSumBlock * 2);
    return finite ? 0.0f : __builtin_nanf("");
  }
  const __m256 inverse = _mm256_set1_ps(127.0f / amax);
  for (int i = 0; i < kBlock; i += 32) {
    int low, high;
    Quantize32(x + i, inverse, q + i, &low, &high);
    if (kSumBlock == 32) {
      sum[i / 32] = static_cast<int16_t>(low + high);
    } else {
      sum[i / 16] = static_cast<int16_t>(low);
      sum[i / 16 + 1] = static_cast<int16_t>(high);
    }
  }
  return amax / 127.0f;
}

template <ActForm kForm, int kBlock, int kSumBlock>
void QuantizeRows(const QuantizeRowsArgs& args) noexcept {
  const ActLayout layout = LayoutOf(kForm, args.cols);
  for (int r = 0; r < args.n_rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    auto* row = static_cast<std::byte*>(args.out) + static_cast<size_t>(r) * layout.row_bytes;
    auto* q = reinterpret_cast<int8_t*>(row + layout.q);
    auto* d = reinterpret_cast<float*>(row + layout.d);
    auto* sum = reinterpret_cast<int16_t*>(row + layout.sum);
    for (int i = 0; i < args.cols; i += kBlock)
      d[i / kBlock] = QuantizeBlock<kBlock, kSumBlock>(x + i, q + i, sum + i / kSumBlock);
  }
}

}  // namespace

void QuantizeBlocks32(const QuantizeRowsArgs& args) noexcept {
  QuantizeRows<ActForm::kBlocks32, 32, 32>(args);
}

void QuantizeBlocks256(const QuantizeRowsArgs& args) noexcept {
  QuantizeRows<ActForm::kBlocks256, 256, 16>(args);
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
