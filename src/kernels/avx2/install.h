// SPDX-License-Identifier: Apache-2.0
// The AVX2 + FMA + F16C kernels. Install, called by dispatch.cc only on a host that has all three,
// overwrites the slots that this folder implements; each file installs its own.
#pragma once

#include "kernels/kernel_table.h"

namespace mixtral::kernels::avx2 {

void Install(KernelTable& table);

void InstallFloatMatmul(KernelTable& table);  // F32, F16, BF16, every type in kExact; F16 rows
void InstallSigned(KernelTable& table);       // Q8_0, IQ4_NL, IQ4_XS
void InstallUnsigned32(KernelTable& table);   // Q4_0, Q4_1, Q5_0, Q5_1
void InstallK32(KernelTable& table);          // Q4_K, Q5_K
void InstallK16(KernelTable& table);          // Q2_K, Q3_K, Q6_K
void InstallAttend(KernelTable& table);
void InstallRows(KernelTable& table);
void InstallCeilings(KernelTable& table);

void QuantizeBlocks32(const QuantizeRowsArgs& args) noexcept;
void QuantizeBlocks256(const QuantizeRowsArgs& args) noexcept;

}  // namespace mixtral::kernels::avx2
