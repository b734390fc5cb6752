// SPDX-License-Identifier: Apache-2.0
// AVX2 f32 matrix products (generic/float_matmul.inl.h) of F32, F16, BF16, and of every type under
// Compute::kExact; and the conversions of F16 and BF16 rows.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "kernels/scalar/install.h"
#include "tensor/block_formats.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/vec.inl.h"

#include "kernels/generic/float_matmul.inl.h"

template <class Elements>
void ToF32Row(const void* row, int n, float* out) noexcept {
  PlainRow<Elements>::Expand(static_cast<const std::byte*>(row), n, out);
}

void F16FromF32(const float* x, int n, void* row) noexcept {
  auto* p = static_cast<std::byte*>(row);
  for (int i = 0; i < n; i += kLanes) {
    const int count = n - i < kLanes ? n - i : kLanes;
    const __m128i half =
        _mm256_cvtps_ph(LoadN(x + i, count), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    if (count == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + i * 2), half);
    } else {
      uint16_t buffer[8];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(buffer), half);
      std::memcpy(p + i * 2, buffer, static_cast<size_t>(count) * 2);
    }
  }
}

}  // namespace

void InstallFloatMatmul(KernelTable& table) {
  InstallFloatSlots(table, Isa::kAvx2, &scalar::QuantizeF32);
  table.to_f32[Index(DType::kF16)] = {&ToF32Row<F16Elements>, Isa::kAvx2};
  table.to_f32[Index(DType::kBF16)] = {&ToF32Row<Bf16Elements>, Isa::kAvx2};
  table.from_f32[Index(DType::kF16)] = {&F16FromF32, Isa::kAvx2};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
