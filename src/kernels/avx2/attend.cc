// SPDX-License-Identifier: Apache-2.0
// AVX2 attention tiles (generic/attend.inl.h) over F32 and F16 caches.
#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/install.h"
#include "tensor/float_bits.h"

#include "kernels/avx2/target_begin.h"
namespace mixtral::kernels::avx2 {
namespace {
#include "kernels/avx2/vec.inl.h"

#include "kernels/generic/attend.inl.h"
}  // namespace

void InstallAttend(KernelTable& table) {
  table.attend_tile[Index(DType::kF32)] = {&AttendTile<F32Elements>, Isa::kAvx2};
  table.attend_tile[Index(DType::kF16)] = {&AttendTile<F16Elements>, Isa::kAvx2};
}

}  // namespace mixtral::kernels::avx2
#include "kernels/avx2/target_end.h"
