// SPDX-License-Identifier: Apache-2.0
// Scalar Q6_K products.
//
// SHAPES      weights Q6_K [n_rows, cols], activations kBlocks256, out [n_tokens, n_rows]
// DEFINITION  acc = 0; per block of 256, ascending, with sub-blocks j of 16:
//             S = sum_j sc_j * (sum(w6 * q) - 32 * sum(q)), exact in int32;
//             acc = fma(d * d_x, float(S), acc)
// ASSUMES     cols a multiple of 256; rows at any alignment
// EXAMPLE     8x7B output head: [32000, 4096] against 1..64 tokens
#include <cmath>

#include "kernels/scalar/install.h"
#include "kernels/scalar/row_slots.h"
#include "tensor/block_q6_k.h"

namespace mixtral::kernels::scalar {
namespace {

struct TypeQ6K {
  static constexpr DType kDType = DType::kQ6_K;
  static constexpr ActForm kForm = ActForm::kBlocks256;

  static float Dot(const std::byte* row, const ActParts& x, int cols) {
    float acc = 0;
    for (int b = 0; b < cols / 256; ++b) {
      const auto block = LoadUnaligned<BlockQ6K>(row + static_cast<size_t>(b) * sizeof(BlockQ6K));
      int scaled = 0;
      for (int j = 0; j < 16; ++j) {
        const int8_t* q = x.q + b * 256 + j * 16;
        int sum = 0;
        for (int i = 0; i < 16; ++i) sum += QuantQ6K(block, j * 16 + i) * q[i];
        scaled += block.scales[j] * (sum - 32 * x.sum[b * 16 + j]);
      }
      acc = std::fma(F16ToF32(block.d) * x.d[b], static_cast<float>(scaled), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ6K(KernelTable& table) { RowSlots<TypeQ6K>::Install(table, &QuantizeBlocks256); }

}  // namespace mixtral::kernels::scalar
