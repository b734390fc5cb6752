// SPDX-License-Identifier: Apache-2.0
// Scalar Q8_0 products.
//
// SHAPES      weights Q8_0 [n_rows, cols], activations kBlocks32, out [n_tokens, n_rows]
// DEFINITION  acc = 0; per block of 32, ascending: acc = fma(d_w * d_x, float(sum(w * q)), acc)
// ASSUMES     cols a multiple of 32; rows at any alignment
// EXAMPLE     8x7B gate: [14336, 4096] against 1..512 tokens
#include <cmath>

#include "kernels/scalar/install.h"
#include "kernels/scalar/row_slots.h"
#include "tensor/block_q8_0.h"

namespace mixtral::kernels::scalar {
namespace {

struct TypeQ8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  static constexpr ActForm kForm = ActForm::kBlocks32;

  static float Dot(const std::byte* row, const ActParts& x, int cols) {
    float acc = 0;
    for (int b = 0; b < cols / 32; ++b) {
      const auto block = LoadUnaligned<BlockQ8_0>(row + static_cast<size_t>(b) * sizeof(BlockQ8_0));
      int sum = 0;
      for (int i = 0; i < 32; ++i) sum += block.qs[i] * x.q[b * 32 + i];
      acc = std::fma(F16ToF32(block.d) * x.d[b], static_cast<float>(sum), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ8_0(KernelTable& table) { RowSlots<TypeQ8_0>::Install(table, &QuantizeBlocks32); }

}  // namespace mixtral::kernels::scalar
