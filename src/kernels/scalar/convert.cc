// SPDX-License-Identifier: Apache-2.0
// Rows of stored elements to f32 and back, as tensor/ defines each format. Used for embeddings, the
// KV cache and norms; the conversions inside matrix products are the products' own.
#include <bit>
#include <cstring>

#include "kernels/scalar/install.h"
#include "tensor/block_formats.h"

namespace mixtral::kernels::scalar {
namespace {

void F32Row(const void* row, int n, float* out) noexcept {
  std::memcpy(out, row, static_cast<size_t>(n) * 4);
}
void F16Row(const void* row, int n, float* out) noexcept {
  const auto* p = static_cast<const std::byte*>(row);
  for (int i = 0; i < n; ++i) out[i] = F16ToF32(LoadUnaligned<uint16_t>(p + i * 2));
}
void Bf16Row(const void* row, int n, float* out) noexcept {
  const auto* p = static_cast<const std::byte*>(row);
  for (int i = 0; i < n; ++i) out[i] = Bf16ToF32(LoadUnaligned<uint16_t>(p + i * 2));
}
template <class Block>
void BlocksRow(const void* row, int n, float* out) noexcept {
  DequantizeRow<Block>(row, n, out);
}
template <class... Blocks>
void InstallBlocks(KernelTable& table, BlockList<Blocks...>) {
  ((table.to_f32[Index(Blocks::kDType)] = {&BlocksRow<Blocks>, Isa::kScalar}), ...);
}

void ToF32Row(const float* x, int n, void* row) noexcept {
  std::memcpy(row, x, static_cast<size_t>(n) * 4);
}
template <uint16_t (*kNarrow)(float)>
void ToHalfRow(const float* x, int n, void* row) noexcept {
  auto* p = static_cast<std::byte*>(row);
  for (int i = 0; i < n; ++i) {
    const uint16_t half = kNarrow(x[i]);
    std::memcpy(p + i * 2, &half, 2);
  }
}

}  // namespace

void InstallConvert(KernelTable& table) {
  auto& to = table.to_f32;
  to[Index(DType::kF32)] = {&F32Row, Isa::kScalar};
  to[Index(DType::kF16)] = {&F16Row, Isa::kScalar};
  to[Index(DType::kBF16)] = {&Bf16Row, Isa::kScalar};
  InstallBlocks(table, AllBlocks{});
  table.from_f32[Index(DType::kF32)] = {&ToF32Row, Isa::kScalar};
  table.from_f32[Index(DType::kF16)] = {&ToHalfRow<&F32ToF16>, Isa::kScalar};
  table.from_f32[Index(DType::kBF16)] = {&ToHalfRow<&F32ToBf16>, Isa::kScalar};
}

}  // namespace mixtral::kernels::scalar
