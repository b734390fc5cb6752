// SPDX-License-Identifier: Apache-2.0
// Scalar Q4_0 products.
//
// SHAPES      weights Q4_0 [n_rows, cols], activations kBlocks32, out [n_tokens, n_rows]
// DEFINITION  acc = 0; per block of 32, ascending:
//             acc = fma(d_w * d_x, float(sum(w4 * q) - 8 * sum(q)), acc)
// ASSUMES     cols a multiple of 32; rows at any alignment
// EXAMPLE     8x7B gate: [14336, 4096] against 1..512 tokens
#include <cmath>

#include "kernels/scalar/install.h"
#include "kernels/scalar/row_slots.h"
#include "tensor/block_q4_0.h"

namespace mixtral::kernels::scalar {
namespace {

struct TypeQ4_0 {
  static constexpr DType kDType = DType::kQ4_0;
  static constexpr ActForm kForm = ActForm::kBlocks32;

  static float Dot(const std::byte* row, const ActParts& x, int cols) {
    float acc = 0;
    for (int b = 0; b < cols / 32; ++b) {
      const auto block = LoadUnaligned<BlockQ4_0>(row + static_cast<size_t>(b) * sizeof(BlockQ4_0));
      const int8_t* q = x.q + b * 32;
      int sum = 0;
      for (int i = 0; i < 16; ++i)
        sum += (block.qs[i] & 15) * q[i] + (block.qs[i] >> 4) * q[i + 16];
      sum -= 8 * x.sum[b];
      acc = std::fma(F16ToF32(block.d) * x.d[b], static_cast<float>(sum), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ4_0(KernelTable& table) { RowSlots<TypeQ4_0>::Install(table, &QuantizeBlocks32); }

}  // namespace mixtral::kernels::scalar
