// SPDX-License-Identifier: Apache-2.0
// Scalar f32 matrix products (generic/float_matmul.inl.h) of F32, F16, BF16, and of every type
// under Compute::kExact.
#include <cstring>

#include "kernels/scalar/install.h"
#include "kernels/scalar/vec.h"
#include "tensor/block_formats.h"

namespace mixtral::kernels::scalar {
namespace {
#include "kernels/generic/dot.inl.h"
#include "kernels/generic/float_matmul.inl.h"
}  // namespace

void InstallFloatMatmul(KernelTable& table) {
  InstallFloatSlots(table, Isa::kScalar, &QuantizeF32);
}

}  // namespace mixtral::kernels::scalar
