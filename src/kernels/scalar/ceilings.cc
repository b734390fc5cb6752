// SPDX-License-Identifier: Apache-2.0
// Ceilings of the scalar code: six independent chains of a multiplication and an addition in plain
// registers, and a loop that only reads memory.
#include <cstring>

#include "kernels/scalar/install.h"

namespace mixtral::kernels::scalar {
namespace {

constexpr int kChains = 6;

/// Hides the value from the compiler, which would compute all passes at once.
template <class T>
inline void Hide(T& value) {
  if constexpr (sizeof(T) == sizeof(float) && T(0.5) != T(0))
    __asm__ volatile("" : "+x"(value));
  else
    __asm__ volatile("" : "+r"(value));
}

template <class T>
int64_t ChainsPeak(int64_t n_passes) noexcept {
  T sums[kChains] = {}, factor = 1, value = 1;
  for (int64_t pass = 0; pass < n_passes; ++pass) {
    for (T& sum : sums) {
      Hide(value);
      sum += value * factor;
      Hide(sum);
    }
  }
  return n_passes * kChains * 2;
}

uint64_t ReadWords(const void* p, size_t n) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(p);
  uint64_t sum = 0;
  for (size_t i = 0; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    sum ^= word;
  }
  return sum;
}

}  // namespace

void InstallCeilings(KernelTable& table) {
  table.peaks = {{{&ChainsPeak<int32_t>, Isa::kScalar},
                  {&ChainsPeak<int32_t>, Isa::kScalar},
                  {&ChainsPeak<float>, Isa::kScalar}}};
  table.read_words = {&ReadWords, Isa::kScalar};
}

}  // namespace mixtral::kernels::scalar
