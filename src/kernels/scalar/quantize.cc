// SPDX-License-Identifier: Apache-2.0
// Activations into the forms that the matrix slots multiply: f32 copies and int8 blocks with exact
// sums. avx2/quantize.cc gives bitwise the same.
//
// SHAPES      x float [n_rows, cols] -> out [n_rows] rows of LayoutOf(form, cols)
// DEFINITION  per block of 32 or 256: amax = max |x|; d = amax / 127;
//             q = round to nearest even(x * (127 / amax)), limited to +-127; sum = exact sums of q
//             per 32 (blocks of 32) or 16 (blocks of 256)
// ASSUMES     cols a multiple of the block. amax below 2^-100 counts as 0 (127 / amax must be
//             finite): d = 0, q = 0. A block with an infinity or a NaN gets d = NaN, so that the
//             product shows it.
// EXAMPLE     8x7B: rows of 4096 floats become 4096 int8 + 16 scales + 256 sums
#include <bit>
#include <cstring>
#include <limits>

#include "kernels/scalar/install.h"
#include "tensor/float_bits.h"

namespace mixtral::kernels::scalar {
namespace {

/// q of one block and its scale. The maximum is taken on the bits: order-free, and a NaN wins.
float QuantizeBlock(const float* x, int n, int8_t* q) {
  uint32_t amax_bits = 0;
  for (int i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu;
    amax_bits = bits > amax_bits ? bits : amax_bits;
  }
  const float amax = std::bit_cast<float>(amax_bits);
  const bool finite = amax_bits < 0x7F800000u;
  if (!finite || amax < 0x1p-100f) {
    std::memset(q, 0, static_cast<size_t>(n));
    return finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = 127.0f / amax;
  for (int i = 0; i < n; ++i) {
    // Adding 1.5 * 2^23 leaves no fraction bits, so the sum is rounded to the nearest even integer.
    const float rounded = (x[i] * inverse + 0x1.8p23f) - 0x1.8p23f;
    const float limited = rounded > 127.0f ? 127.0f : rounded < -127.0f ? -127.0f : rounded;
    q[i] = static_cast<int8_t>(limited);
  }
  return amax / 127.0f;
}

template <ActForm kForm, int kBlock, int kSumBlock>
void QuantizeRows(const QuantizeRowsArgs& args) noexcept {
  const ActLayout layout = LayoutOf(kForm, args.cols);
  for (int r = 0; r < args.n_rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    auto* row = static_cast<std::byte*>(args.out) + static_cast<size_t>(r) * layout.row_bytes;
    auto* q = reinterpret_cast<int8_t*>(row + layout.q);
    auto* d = reinterpret_cast<float*>(row + layout.d);
    auto* sum = reinterpret_cast<int16_t*>(row + layout.sum);
    for (int i = 0; i < args.cols; i += kBlock) d[i / kBlock] = QuantizeBlock(x + i, kBlock, q + i);
    for (int i = 0; i < args.cols; i += kSumBlock) {
      int total = 0;
      for (int j = 0; j < kSumBlock; ++j) total += q[i + j];
      sum[i / kSumBlock] = static_cast<int16_t>(total);
    }
  }
}

}  // namespace

void QuantizeF32(const QuantizeRowsArgs& args) noexcept {
  const ActLayout layout = LayoutOf(ActForm::kF32, args.cols);
  for (int r = 0; r < args.n_rows; ++r) {
    auto* row = static_cast<std::byte*>(args.out) + static_cast<size_t>(r) * layout.row_bytes;
    std::memcpy(row, args.x + r * args.x_stride, static_cast<size_t>(args.cols) * 4);
  }
}

void QuantizeBlocks32(const QuantizeRowsArgs& args) noexcept {
  QuantizeRows<ActForm::kBlocks32, 32, 32>(args);
}

void QuantizeBlocks256(const QuantizeRowsArgs& args) noexcept {
  QuantizeRows<ActForm::kBlocks256, 256, 16>(args);
}

}  // namespace mixtral::kernels::scalar
