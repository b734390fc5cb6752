// SPDX-License-Identifier: Apache-2.0
// The scalar kernels: the reference of every slot, without intrinsics. Install, called by
// dispatch.cc, fills the whole table; each file of this folder installs its own slots.
#pragma once

#include "kernels/kernel_table.h"

namespace mixtral::kernels::scalar {

void Install(KernelTable& table);

void InstallConvert(KernelTable& table);
void InstallFloatMatmul(KernelTable& table);  // F32, F16, BF16, and every type in kExact
void InstallBlockMatmul(KernelTable& table);  // every block format in kFast
void InstallAttend(KernelTable& table);
void InstallRows(KernelTable& table);
void InstallCeilings(KernelTable& table);

void QuantizeF32(const QuantizeRowsArgs& args) noexcept;
void QuantizeBlocks32(const QuantizeRowsArgs& args) noexcept;
void QuantizeBlocks256(const QuantizeRowsArgs& args) noexcept;

}  // namespace mixtral::kernels::scalar
