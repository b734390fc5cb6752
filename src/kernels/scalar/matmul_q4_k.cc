// SPDX-License-Identifier: Apache-2.0
// Scalar Q4_K products.
//
// SHAPES      weights Q4_K [n_rows, cols], activations kBlocks256, out [n_tokens, n_rows]
// DEFINITION  acc = 0; per block of 256, ascending, with sub-blocks j of 32:
//             S = sum_j sc_j * sum(w4 * q), M = sum_j m_j * sum(q), exact in int32;
//             acc = fma(d * d_x, float(S), acc); acc = fma(-(dmin * d_x), float(M), acc)
// ASSUMES     cols a multiple of 256; rows at any alignment
// EXAMPLE     8x7B gate: [14336, 4096] against 1..512 tokens
#include <cmath>

#include "kernels/scalar/install.h"
#include "kernels/scalar/row_slots.h"
#include "tensor/block_q4_k.h"

namespace mixtral::kernels::scalar {
namespace {

struct TypeQ4K {
  static constexpr DType kDType = DType::kQ4_K;
  static constexpr ActForm kForm = ActForm::kBlocks256;

  static float Dot(const std::byte* row, const ActParts& x, int cols) {
    float acc = 0;
    for (int b = 0; b < cols / 256; ++b) {
      const auto block = LoadUnaligned<BlockQ4K>(row + static_cast<size_t>(b) * sizeof(BlockQ4K));
      int scaled = 0, minimums = 0;
      for (int j = 0; j < 8; ++j) {
        const int8_t* q = x.q + b * 256 + j * 32;
        const uint8_t* w = block.qs + j / 2 * 32;
        const int shift = j % 2 * 4;
        int sum = 0;
        for (int i = 0; i < 32; ++i) sum += (w[i] >> shift & 15) * q[i];
        scaled += ScaleQ4K(block.scales, j) * sum;
        const int q_sum = x.sum[b * 16 + j * 2] + x.sum[b * 16 + j * 2 + 1];
        minimums += MinimumQ4K(block.scales, j) * q_sum;
      }
      const float d_x = x.d[b];
      acc = std::fma(F16ToF32(block.d) * d_x, static_cast<float>(scaled), acc);
      acc = std::fma(-(F16ToF32(block.dmin) * d_x), static_cast<float>(minimums), acc);
    }
    return acc;
  }
};

}  // namespace

void InstallQ4K(KernelTable& table) { RowSlots<TypeQ4K>::Install(table, &QuantizeBlocks256); }

}  // namespace mixtral::kernels::scalar
