// SPDX-License-Identifier: Apache-2.0
// exp for attention and SiLU. Included inside an ISA's anonymous namespace after its vec.h.
//
// DEFINITION  n = round(x / ln 2), r = x - n * ln 2 in two steps, exp = P(r) * 2^n, P the Taylor
//             polynomial of degree 7 (truncation below 2^-27 for |r| <= 0.347)
// ASSUMES     nothing: exp(-inf) = 0, exp of more than 88.73 = inf, NaN stays NaN; results below
//             2^-126 are rounded twice
// ERROR       at most 2 units in the last place of normal results (conformance_test.cc)
#pragma once

inline Vec Exp(Vec x) {
  x = Min(Set1(89.0f), Max(Set1(-104.0f), x));  // in this order of operands NaN passes
  const Vec n = Round(Mul(x, Set1(0x1.715476p+0f)));
  // ln 2 = high + low; high has 9 significant bits, so that n * high is exact.
  Vec r = Fma(n, Set1(-0x1.63p-1f), x);
  r = Fma(n, Set1(0x1.bd0106p-13f), r);
  Vec p = Set1(1.0f / 5040);
  p = Fma(p, r, Set1(1.0f / 720));
  p = Fma(p, r, Set1(1.0f / 120));
  p = Fma(p, r, Set1(1.0f / 24));
  p = Fma(p, r, Set1(1.0f / 6));
  p = Fma(p, r, Set1(0.5f));
  p = Fma(Mul(r, r), p, r);
  p = Add(p, Set1(1.0f));
  // 2^n in two factors: n reaches from -150 to 128, one float exponent does not.
  const Vec half = Round(Mul(n, Set1(0.5f)));
  return Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(Sub(n, half)));
}
