// SPDX-License-Identifier: Apache-2.0
// The matrix slots of a quantised type made of one function, Dot(file row, activation row). The
// scalar tile is a copy of the file rows. Used by scalar/matmul_blocks.cc.
#pragma once

#include <cstring>

#include "kernels/kernel_table.h"

namespace mixtral::kernels::scalar {

/// The parts of one quantised activation row.
struct ActParts {
  const int8_t* q;
  const float* d;
  const int16_t* sum;
};
inline ActParts PartsOf(ActForm form, const void* row, int cols) {
  const ActLayout layout = LayoutOf(form, cols);
  const auto* p = static_cast<const std::byte*>(row);
  return {reinterpret_cast<const int8_t*>(p + layout.q),
          reinterpret_cast<const float*>(p + layout.d),
          reinterpret_cast<const int16_t*>(p + layout.sum)};
}

/// Type: kDType, kForm, static float Dot(const std::byte* row, const ActParts& x, int cols).
template <class Type>
struct RowSlots {
  static size_t TileBytes(int cols) noexcept {
    return RoundUp64(RowBytes(Type::kDType, cols) * kTileRows);
  }
  static void Pack(const PackTileArgs& args) noexcept {
    const size_t bytes = RowBytes(Type::kDType, args.cols);
    for (int r = 0; r < kTileRows; ++r) {
      auto* to = static_cast<std::byte*>(args.tile) + static_cast<size_t>(r) * bytes;
      const auto* from =
          static_cast<const std::byte*>(args.weights) + static_cast<size_t>(r) * args.row_bytes;
      if (r < args.n_rows) {
        std::memcpy(to, from, bytes);
      } else {
        std::memset(to, 0, bytes);
      }
    }
  }
  static void Gemm(const GemmTileArgs& args) noexcept {
    const size_t bytes = RowBytes(Type::kDType, args.cols);
    for (int t = 0; t < args.n_tokens; ++t) {
      const auto row = static_cast<size_t>(args.act_rows != nullptr ? args.act_rows[t] : t);
      const ActParts x = PartsOf(
          Type::kForm, static_cast<const std::byte*>(args.acts) + row * args.act_stride, args.cols);
      for (int r = 0; r < args.n_rows; ++r) {
        const auto* w = static_cast<const std::byte*>(args.tile) + static_cast<size_t>(r) * bytes;
        args.out[t * args.out_stride + r] = Type::Dot(w, x, args.cols);
      }
    }
  }
  static void Gemv(const GemvRowsArgs& args) noexcept {
    const ActParts x = PartsOf(Type::kForm, args.act, args.cols);
    for (int r = 0; r < args.n_rows; ++r) {
      const auto* w =
          static_cast<const std::byte*>(args.weights) + static_cast<size_t>(r) * args.row_bytes;
      args.out[r] = Type::Dot(w, x, args.cols);
    }
  }
  static void Install(KernelTable& table, QuantizeRowsFn* quantize) {
    table.matrix[static_cast<size_t>(Compute::kFast)][Index(Type::kDType)] = {
        Type::kForm,           {quantize, Isa::kScalar},          {&Pack, Isa::kScalar},
        {&Gemm, Isa::kScalar}, {&EachToken<&Gemv>, Isa::kScalar}, &TileBytes};
  }
};

}  // namespace mixtral::kernels::scalar
