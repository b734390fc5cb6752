// SPDX-License-Identifier: Apache-2.0
// Scalar products of every block format with quantised activations.
//
// SHAPES      weights [n_rows, cols] in blocks of 32 or 256, activations kBlocks32 or kBlocks256,
//             out [n_tokens, n_rows]
// DEFINITION  w: the block's integer weights (Quants), q: those of the activation; acc = 0; then
// per
//             block, ascending, with everything inside a block exact in int32:
//             32:   acc = fma(d_w * d_x, float(sum(w * q)), acc);
//                   with minimums: acc = fma(m_w * d_x, float(sum(q)), acc)
//             256:  S = sum_j scale_j * sum(w * q) over sub-blocks j of 16 or 32:
//                   acc = fma(d * d_x, float(S), acc);
//                   with minimums, M = sum_j minimum_j * sum(q):
//                   acc = fma(-(dmin * d_x), float(M), acc)
// ASSUMES     cols a multiple of the block; rows at any alignment; bounds in docs/kernels.md
// EXAMPLE     8x7B gate: [14336, 4096] against 1..512 tokens
#include <cmath>

#include "kernels/scalar/install.h"
#include "kernels/scalar/row_slots.h"
#include "tensor/block_formats.h"

namespace mixtral::kernels::scalar {
namespace {

inline int Product(const int8_t* w, const int8_t* q, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += w[i] * q[i];
  return sum;
}

template <class Block>
float Block32(const Block& block, const ActParts& x, int b, float acc) {
  int8_t w[32];
  Quants(block, w);
  const float d_x = x.d[b];
  acc = std::fma(F16ToF32(block.d) * d_x, static_cast<float>(Product(w, x.q + b * 32, 32)), acc);
  if constexpr (Block::kMinimums)
    acc = std::fma(F16ToF32(block.m) * d_x, static_cast<float>(x.sum[b]), acc);
  return acc;
}

template <class Block>
float Block256(const Block& block, const ActParts& x, int b, float acc) {
  constexpr int kSub = Block::kSubBlock;
  int8_t w[256];
  Quants(block, w);
  const int16_t* sum = x.sum + b * 16;
  int scaled = 0, minimums = 0;
  for (int j = 0; j < 256 / kSub; ++j) {
    scaled += Scale(block, j) * Product(w + j * kSub, x.q + b * 256 + j * kSub, kSub);
    if constexpr (Block::kMinimums)
      minimums += Minimum(block, j) * (kSub == 16 ? sum[j] : sum[2 * j] + sum[2 * j + 1]);
  }
  const float d_x = x.d[b];
  acc = std::fma(F16ToF32(block.d) * d_x, static_cast<float>(scaled), acc);
  if constexpr (Block::kMinimums)
    acc = std::fma(-(F16ToF32(block.dmin) * d_x), static_cast<float>(minimums), acc);
  return acc;
}

template <class Block>
struct Type {
  static constexpr DType kDType = Block::kDType;
  static constexpr ActForm kForm =
      Block::kElements == 32 ? ActForm::kBlocks32 : ActForm::kBlocks256;

  static float Dot(const std::byte* row, const ActParts& x, int cols) {
    float acc = 0;
    for (int b = 0; b < cols / Block::kElements; ++b, row += sizeof(Block)) {
      const auto block = LoadUnaligned<Block>(row);
      if constexpr (Block::kElements == 32) acc = Block32(block, x, b, acc);
      if constexpr (Block::kElements == 256) acc = Block256(block, x, b, acc);
    }
    return acc;
  }
};

template <class... Blocks>
void InstallAll(KernelTable& table, BlockList<Blocks...>) {
  (RowSlots<Type<Blocks>>::Install(
       table, Blocks::kElements == 32 ? &QuantizeBlocks32 : &QuantizeBlocks256),
   ...);
}

}  // namespace

void InstallBlockMatmul(KernelTable& table) { InstallAll(table, AllBlocks{}); }

}  // namespace mixtral::kernels::scalar
