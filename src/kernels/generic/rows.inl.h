// SPDX-License-Identifier: Apache-2.0
// Work on single rows of activations. Included inside an ISA's anonymous namespace after dot.inl.h
// and exp.inl.h.
//
// SHAPES      every argument float [n]; n >= 1, any alignment
// DEFINITION  rms_norm: out = (x * (1 / sqrt(dot(x, x) / n + eps))) * weight
//             silu_mul: out = gate / (1 + exp(-gate)) * up
// ASSUMES     out may be the first argument itself, no other overlap
// EXAMPLE     8x7B: rms_norm n = 4096, silu_mul n = 14336 per expert row
#pragma once

#include "kernels/generic/dot.inl.h"
#include "kernels/generic/exp.inl.h"

inline void RmsNorm(const float* x, const float* weight, float eps, int n, float* out) noexcept {
  DotLanes lanes = ZeroLanes();
  AccumulateRows<F32Elements, 1>(reinterpret_cast<const std::byte*>(x), 0, x, n, &lanes);
  const float mean = Sum(lanes) / static_cast<float>(n);
  const Vec inverse = Set1(1.0f / std::sqrt(mean + eps));
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    Store(out + i, Mul(Mul(Load(x + i), inverse), Load(weight + i)));
  if (i < n)
    StoreN(out + i, Mul(Mul(LoadN(x + i, n - i), inverse), LoadN(weight + i, n - i)), n - i);
}

inline Vec SiluMul(Vec gate, Vec up) {
  const Vec denominator = Add(Exp(Sub(Zero(), gate)), Set1(1.0f));
  return Mul(Div(gate, denominator), up);
}

inline void SiluMulRow(const float* gate, const float* up, int n, float* out) noexcept {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(out + i, SiluMul(Load(gate + i), Load(up + i)));
  if (i < n) StoreN(out + i, SiluMul(LoadN(gate + i, n - i), LoadN(up + i, n - i)), n - i);
}
