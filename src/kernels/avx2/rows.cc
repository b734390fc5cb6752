// SPDX-License-Identifier: Apache-2.0
// AVX2 row kernels: generic/rows.inl.h and the scaled sum. Rotary embedding stays scalar.
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/float_bits.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/vec.inl.h"

#include "kernels/generic/rows.inl.h"

void AddScaled(const float* x, float scale, int n, float* y) noexcept {
  const Vec factor = Set1(scale);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Fma(factor, Load(x + i), Load(y + i)));
  if (i < n) StoreN(y + i, Fma(factor, LoadN(x + i, n - i), LoadN(y + i, n - i)), n - i);
}

}  // namespace

void InstallRows(KernelTable& table) {
  table.rms_norm = {&RmsNorm, Isa::kAvx2};
  table.silu_mul = {&SiluMulRow, Isa::kAvx2};
  table.add_scaled = {&AddScaled, Isa::kAvx2};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
