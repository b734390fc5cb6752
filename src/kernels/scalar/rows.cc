// SPDX-License-Identifier: Apache-2.0
// Scalar row kernels: generic/rows.inl.h, rotary embedding and the scaled sum.
#include <cmath>

#include "kernels/scalar/install.h"
#include "kernels/scalar/vec.h"

namespace mixtral::kernels::scalar {
namespace {
#include "kernels/generic/dot.inl.h"
#include "kernels/generic/exp.inl.h"
#include "kernels/generic/rows.inl.h"

/// Pair j of every head turned by the angle of (cos[j], sin[j]); whatever order comes in, pairs lie
/// side by side in the result.
void Rope(const RopeArgs& args) noexcept {
  const int half = args.head_dim / 2;
  const bool interleaved = args.layout == RopeLayout::kInterleaved;
  const int pair_step = interleaved ? 2 : 1, partner = interleaved ? 1 : half;
  for (int h = 0; h < args.n_heads; ++h) {
    const float* x = args.x + h * args.head_dim;
    float* out = args.out + h * args.head_dim;
    for (int j = 0; j < half; ++j) {
      const float a = x[j * pair_step], b = x[j * pair_step + partner];
      out[2 * j] = (a * args.cos[j] - b * args.sin[j]) * args.scale;
      out[2 * j + 1] = (a * args.sin[j] + b * args.cos[j]) * args.scale;
    }
  }
}

void AddScaled(const float* x, float scale, int n, float* y) noexcept {
  for (int i = 0; i < n; ++i) y[i] = std::fma(scale, x[i], y[i]);
}

}  // namespace

void InstallRows(KernelTable& table) {
  table.rms_norm = {&RmsNorm, Isa::kScalar};
  table.rope = {&Rope, Isa::kScalar};
  table.silu_mul = {&SiluMulRow, Isa::kScalar};
  table.add_scaled = {&AddScaled, Isa::kScalar};
}

}  // namespace mixtral::kernels::scalar
