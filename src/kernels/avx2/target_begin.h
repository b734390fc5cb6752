// SPDX-License-Identifier: Apache-2.0
// Opens the region whose code may use AVX2, FMA and F16C. A source of this folder includes every
// other header first, then this one, then has its code, then target_end.h: inline functions of the
// standard library stay at the baseline, so that the linker never picks an AVX2 copy for a host
// without it. Inside: no lambdas and no standard algorithms. Included once per source.
static_assert(mixtral::kernels::RequiredFeatures(mixtral::kernels::Isa::kAvx2) ==
              (mixtral::kernels::kAvx2Bit | mixtral::kernels::kFmaBit |
               mixtral::kernels::kF16cBit));
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
