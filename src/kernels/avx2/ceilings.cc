// SPDX-License-Identifier: Apache-2.0
// The register loops that bound every AVX2 product, and the loop that only reads memory. Run by
// `mixtral bench`, `mixtral info` and bench/bench_kernels.cc.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {

constexpr int kSteps = 6;

/// The fewest instructions that multiply int8 exactly whatever the values are: 2 * 32 operations
/// per step. In assembly, because compilers find that nothing changes from step to step.
int64_t Int8Peak(int64_t n_passes) noexcept {
  for (int64_t i = 0; i < n_passes; ++i) {
    __asm__ volatile(
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm6\n vpmaddwd %%ymm6, %%ymm14, %%ymm6\n"
        "vpaddd %%ymm6, %%ymm0, %%ymm0\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm7\n vpmaddwd %%ymm7, %%ymm14, %%ymm7\n"
        "vpaddd %%ymm7, %%ymm1, %%ymm1\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm8\n vpmaddwd %%ymm8, %%ymm14, %%ymm8\n"
        "vpaddd %%ymm8, %%ymm2, %%ymm2\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm9\n vpmaddwd %%ymm9, %%ymm14, %%ymm9\n"
        "vpaddd %%ymm9, %%ymm3, %%ymm3\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm10\n vpmaddwd %%ymm10, %%ymm14, %%ymm10\n"
        "vpaddd %%ymm10, %%ymm4, %%ymm4\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm11\n vpmaddwd %%ymm11, %%ymm14, %%ymm11\n"
        "vpaddd %%ymm11, %%ymm5, %%ymm5\n"
        :
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11");
  }
  return n_passes * kSteps * 64;
}

/// The same without vpmaddwd, adding in int16: what four-bit weights allow for 32 columns.
int64_t Int8Sum16Peak(int64_t n_passes) noexcept {
  for (int64_t i = 0; i < n_passes; ++i) {
    __asm__ volatile(
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm0, %%ymm0\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpaddw %%ymm15, %%ymm1, %%ymm1\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm2, %%ymm2\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpaddw %%ymm15, %%ymm3, %%ymm3\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm4, %%ymm4\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpaddw %%ymm15, %%ymm5, %%ymm5\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm6, %%ymm6\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpaddw %%ymm15, %%ymm7, %%ymm7\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm8, %%ymm8\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpaddw %%ymm15, %%ymm9, %%ymm9\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpaddw %%ymm14, %%ymm10, %%ymm10\n"
        "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpaddw %%ymm15, %%ymm11, %%ymm11\n"
        :
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm14", "xmm15");
  }
  return n_passes * 2 * kSteps * 64;
}

/// f32: 2 * 8 operations per step.
int64_t F32Peak(int64_t n_passes) noexcept {
  for (int64_t i = 0; i < n_passes; ++i) {
    __asm__ volatile(
        "vfmadd231ps %%ymm12, %%ymm13, %%ymm0\n vfmadd231ps %%ymm12, %%ymm13, %%ymm1\n"
        "vfmadd231ps %%ymm12, %%ymm13, %%ymm2\n vfmadd231ps %%ymm12, %%ymm13, %%ymm3\n"
        "vfmadd231ps %%ymm12, %%ymm13, %%ymm4\n vfmadd231ps %%ymm12, %%ymm13, %%ymm5\n"
        "vfmadd231ps %%ymm12, %%ymm13, %%ymm6\n vfmadd231ps %%ymm12, %%ymm13, %%ymm7\n"
        "vfmadd231ps %%ymm12, %%ymm13, %%ymm8\n vfmadd231ps %%ymm12, %%ymm13, %%ymm9\n"
        "vfmadd231ps %%ymm12, %%ymm13, %%ymm10\n vfmadd231ps %%ymm12, %%ymm13, %%ymm11\n"
        :
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11");
  }
  return n_passes * 2 * kSteps * 16;
}

uint64_t ReadWords(const void* p, size_t n) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(p);
  __m256i sums[4] = {};
  size_t i = 0;
  for (; i + 128 <= n; i += 128) {
    for (int j = 0; j < 4; ++j)
      sums[j] = _mm256_xor_si256(
          sums[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + i + j * 32)));
  }
  for (int j = 1; j < 4; ++j) sums[0] = _mm256_xor_si256(sums[0], sums[j]);
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums[0]);
  uint64_t sum = lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3];
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    sum ^= word;
  }
  return sum;
}

}  // namespace

void InstallCeilings(KernelTable& table) {
  table.peaks = {{{&Int8Peak, Isa::kAvx2}, {&Int8Sum16Peak, Isa::kAvx2}, {&F32Peak, Isa::kAvx2}}};
  table.read_words = {&ReadWords, Isa::kAvx2};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
