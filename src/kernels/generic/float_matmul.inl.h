// SPDX-License-Identifier: Apache-2.0
// Matrix products in f32: F32, F16 and BF16 weights, and every type under Compute::kExact.
// Included inside an ISA's anonymous namespace after generic/dot.inl.h. The products of quantised
// activations are in the other matmul_*.cc.
//
// SHAPES      weights [n_rows, cols], activations float [n_tokens, cols], out [n_tokens, n_rows];
//             tile float [16, RoundUp16(cols)], zero where the matrix has nothing
// DEFINITION  out[t, r] = 16-lane dot (generic/dot.inl.h) of row r as f32 with activation t; gemv
//             and gemm run the same additions, so they agree bitwise
// ASSUMES     cols >= 1, a multiple of the block for block types; activations 64-byte aligned
// EXAMPLE     8x7B router: [8, 4096] F32; a bf16 expert's gate: 896 tiles of [16, 4096]
#pragma once

#include "kernels/generic/dot.inl.h"

constexpr int kExpandChunk =
    256;  // elements expanded at a time; a multiple of every block and of 16

inline size_t TileStride(int cols) { return (static_cast<size_t>(cols) + 15) / 16 * 16; }
inline size_t FloatTileBytes(int cols) noexcept { return TileStride(cols) * kTileRows * 4; }

/// Row formats: how many bytes n elements take, and how to expand them.
template <class Elements>
struct PlainRow {
  static size_t Bytes(int n) { return static_cast<size_t>(n) * Elements::kBytes; }
  static void Expand(const std::byte* p, int n, float* out) {
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) Store(out + i, Elements::Load8(p + Bytes(i)));
    if (i < n) StoreN(out + i, Elements::LoadFirst(p + Bytes(i), n - i), n - i);
  }
};
template <class Block>
struct BlockRow {
  static size_t Bytes(int n) { return static_cast<size_t>(n) / Block::kElements * sizeof(Block); }
  static void Expand(const std::byte* p, int n, float* out) { DequantizeRow<Block>(p, n, out); }
};

template <class Row>
void PackFloatTile(const PackTileArgs& args) noexcept {
  const auto* weights = static_cast<const std::byte*>(args.weights);
  auto* tile = static_cast<float*>(args.tile);
  const int stride = static_cast<int>(TileStride(args.cols));
  for (int r = 0; r < kTileRows; ++r, tile += stride) {
    int filled = 0;
    if (r < args.n_rows) {
      Row::Expand(weights + static_cast<size_t>(r) * args.row_bytes, args.cols, tile);
      filled = args.cols;
    }
    for (int i = filled; i < stride; ++i) tile[i] = 0;
  }
}

inline const float* ActRow(const GemmTileArgs& args, int token) {
  const int row = args.act_rows != nullptr ? args.act_rows[token] : token;
  return reinterpret_cast<const float*>(static_cast<const std::byte*>(args.acts) +
                                        static_cast<size_t>(row) * args.act_stride);
}

/// Rows r, r + 1 of the tile with kTokens tokens from t: 4 * kTokens accumulators in registers.
template <int kTokens>
inline void FloatGemmBlock(const GemmTileArgs& args, int r, int t) {
  const size_t stride = TileStride(args.cols);
  const float* w0 = static_cast<const float*>(args.tile) + static_cast<size_t>(r) * stride;
  const float* w1 = w0 + stride;
  const float* x[kTokens];
  DotLanes sums0[kTokens], sums1[kTokens];
  for (int j = 0; j < kTokens; ++j) {
    x[j] = ActRow(args, t + j);
    sums0[j] = ZeroLanes();
    sums1[j] = ZeroLanes();
  }
  int i = 0;
  for (; i + 16 <= args.cols; i += 16) {
    const Vec w00 = Load(w0 + i), w01 = Load(w0 + i + 8);
    const Vec w10 = Load(w1 + i), w11 = Load(w1 + i + 8);
    for (int j = 0; j < kTokens; ++j) {
      const Vec x_low = Load(x[j] + i), x_high = Load(x[j] + i + 8);
      sums0[j].low = Fma(w00, x_low, sums0[j].low);
      sums0[j].high = Fma(w01, x_high, sums0[j].high);
      sums1[j].low = Fma(w10, x_low, sums1[j].low);
      sums1[j].high = Fma(w11, x_high, sums1[j].high);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    if (i < args.cols) {
      const auto* tail0 = reinterpret_cast<const std::byte*>(w0 + i);
      const auto* tail1 = reinterpret_cast<const std::byte*>(w1 + i);
      AccumulateTail<F32Elements>(tail0, x[j] + i, args.cols - i, sums0[j]);
      AccumulateTail<F32Elements>(tail1, x[j] + i, args.cols - i, sums1[j]);
    }
    float* out = args.out + (t + j) * args.out_stride + r;
    out[0] = Sum(sums0[j]);
    if (r + 1 < args.n_rows) out[1] = Sum(sums1[j]);
  }
}

inline void FloatGemmTile(const GemmTileArgs& args) noexcept {
  int t = 0;
  for (; t + 3 <= args.n_tokens; t += 3) {
    for (int r = 0; r < args.n_rows; r += 2) FloatGemmBlock<3>(args, r, t);
  }
  for (; t < args.n_tokens; ++t) {
    for (int r = 0; r < args.n_rows; r += 2) FloatGemmBlock<1>(args, r, t);
  }
}

/// Columns from .. from + n of four rows; asks for as much of the four rows that follow.
template <class Elements>
inline void AccumulateFour(const std::byte* w, size_t row_bytes, const float* x, int from, int n,
                           DotLanes* lanes) {
  const size_t offset = static_cast<size_t>(from) * Elements::kBytes;
  Prefetch(reinterpret_cast<uintptr_t>(w) + 4 * (row_bytes + offset),
           4 * static_cast<size_t>(n) * Elements::kBytes);
  AccumulateRows<Elements, 4>(w + offset, row_bytes, x + from, n, lanes);
}

/// Plain types: straight from the file rows, four at a time.
template <class Elements>
void FloatGemvRows(const GemvRowsArgs& args) noexcept {
  const auto* x = static_cast<const float*>(args.act);
  DotLanes lanes[4];
  int r = 0;
  for (; r + 4 <= args.n_rows; r += 4) {
    const auto* w =
        static_cast<const std::byte*>(args.weights) + static_cast<size_t>(r) * args.row_bytes;
    for (int j = 0; j < 4; ++j) lanes[j] = ZeroLanes();
    for (int i = 0; i < args.cols; i += kExpandChunk)
      AccumulateFour<Elements>(w, args.row_bytes, x, i,
                               args.cols - i < kExpandChunk ? args.cols - i : kExpandChunk, lanes);
    for (int j = 0; j < 4; ++j) args.out[r + j] = Sum(lanes[j]);
  }
  for (; r < args.n_rows; ++r) {
    const auto* w =
        static_cast<const std::byte*>(args.weights) + static_cast<size_t>(r) * args.row_bytes;
    lanes[0] = ZeroLanes();
    AccumulateRows<Elements, 1>(w, args.row_bytes, x, args.cols, lanes);
    args.out[r] = Sum(lanes[0]);
  }
}

/// Block types: expanded in chunks on the stack.
template <class Row>
void ExactGemvRows(const GemvRowsArgs& args) noexcept {
  alignas(64) float expanded[kExpandChunk];
  const auto* x = static_cast<const float*>(args.act);
  for (int r = 0; r < args.n_rows; ++r) {
    const auto* w =
        static_cast<const std::byte*>(args.weights) + static_cast<size_t>(r) * args.row_bytes;
    DotLanes lanes = ZeroLanes();
    for (int i = 0; i < args.cols; i += kExpandChunk) {
      const int n = args.cols - i < kExpandChunk ? args.cols - i : kExpandChunk;
      Row::Expand(w + Row::Bytes(i), n, expanded);
      AccumulateRows<F32Elements, 1>(reinterpret_cast<const std::byte*>(expanded), 0, x + i, n,
                                     &lanes);
    }
    args.out[r] = Sum(lanes);
  }
}

inline MatrixSlots FloatSlots(Isa isa, QuantizeRowsFn* quantize, PackTileFn* pack,
                              GemvRowsFn* gemv) {
  return {ActForm::kF32,         {quantize, isa}, {pack, isa},
          {&FloatGemmTile, isa}, {gemv, isa},     &FloatTileBytes};
}

template <class... Blocks>
inline void InstallExactBlocks(KernelTable& table, Isa isa, QuantizeRowsFn* quantize,
                               BlockList<Blocks...>) {
  auto& exact = table.matrix[static_cast<size_t>(Compute::kExact)];
  ((exact[Index(Blocks::kDType)] = FloatSlots(isa, quantize, &PackFloatTile<BlockRow<Blocks>>,
                                              &EachToken<&ExactGemvRows<BlockRow<Blocks>>>)),
   ...);
}

/// Fills matrix[kFast] of the plain types and matrix[kExact] of all.
inline void InstallFloatSlots(KernelTable& table, Isa isa, QuantizeRowsFn* quantize) {
  auto& exact = table.matrix[static_cast<size_t>(Compute::kExact)];
  auto& fast = table.matrix[static_cast<size_t>(Compute::kFast)];
  exact[Index(DType::kF32)] = FloatSlots(isa, quantize, &PackFloatTile<PlainRow<F32Elements>>,
                                         &EachToken<&FloatGemvRows<F32Elements>>);
  exact[Index(DType::kF16)] = FloatSlots(isa, quantize, &PackFloatTile<PlainRow<F16Elements>>,
                                         &EachToken<&FloatGemvRows<F16Elements>>);
  exact[Index(DType::kBF16)] = FloatSlots(isa, quantize, &PackFloatTile<PlainRow<Bf16Elements>>,
                                          &EachToken<&FloatGemvRows<Bf16Elements>>);
  InstallExactBlocks(table, isa, quantize, AllBlocks{});
  for (const DType plain : {DType::kF32, DType::kF16, DType::kBF16})
    fast[Index(plain)] = exact[Index(plain)];
}
