// SPDX-License-Identifier: Apache-2.0
// Scalar attention tiles (generic/attend.inl.h) over F32 and F16 caches.
#include "kernels/scalar/install.h"
#include "kernels/scalar/vec.h"

namespace mixtral::kernels::scalar {
namespace {
#include "kernels/generic/attend.inl.h"
#include "kernels/generic/dot.inl.h"
#include "kernels/generic/exp.inl.h"
}  // namespace

void InstallAttend(KernelTable& table) {
  table.attend_tile[Index(DType::kF32)] = {&AttendTile<F32Elements>, Isa::kScalar};
  table.attend_tile[Index(DType::kF16)] = {&AttendTile<F16Elements>, Isa::kScalar};
}

}  // namespace mixtral::kernels::scalar
