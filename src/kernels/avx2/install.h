// SPDX-License-Identifier: Apache-2.0
// The AVX2 + FMA + F16C kernels. Install, called by dispatch.cc only on a host that has all three,
// overwrites the slots that this folder implements; each file installs its own.
#pragma once

#include "kernels/kernel_table.h"

namespace mixtral::kernels::avx2 {

void Install(KernelTable& table);

void InstallFloatMatmul(KernelTable& table);  // F32, F16, BF16, every type in kExact; F16 rows
void InstallQ8_0(KernelTable& table);
void InstallQ4_0(KernelTable& table);
void InstallQ4K(KernelTable& table);
void InstallQ6K(KernelTable& table);
void InstallAttend(KernelTable& table);
void InstallRows(KernelTable& table);

void QuantizeBlocks32(const QuantizeRowsArgs& args) noexcept;
void QuantizeBlocks256(const QuantizeRowsArgs& args) noexcept;

}  // namespace mixtral::kernels::avx2
