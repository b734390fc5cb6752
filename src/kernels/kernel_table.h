// SPDX-License-Identifier: Apache-2.0
// The table of single-threaded numeric loops: plain function pointers over POD argument structs,
// one set per ISA. backend/cpu calls it; kernels never see a thread, a model or an error.
// Arithmetic contract: docs/kernels.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"
#include "tensor/dtype.h"

namespace mixtral::kernels {

inline constexpr int kTileRows = 16;  // weight rows of one tile
inline constexpr int kKvTile =
    64;  // cache positions of one attention tile, aligned to the absolute position

// ---- Activations, in the form that a weight type multiplies
// -------------------------------------------------------

enum class ActForm : uint8_t {
  kF32,        // float x[cols]
  kBlocks32,   // int8 q[cols], float d[cols/32],  int16 sum[cols/32]: sum of each 32 q;  x ~ d * q
  kBlocks256,  // int8 q[cols], float d[cols/256], int16 sum[cols/16]: sum of each 16 q;  x ~ d * q
};

/// Byte offsets of the parts of one activation row; all multiples of 64, so that rows of an aligned
/// buffer are aligned.
struct ActLayout {
  size_t q = 0, d = 0, sum = 0, row_bytes = 0;
};
constexpr size_t RoundUp64(size_t n) { return (n + 63) / 64 * 64; }
constexpr ActLayout LayoutOf(ActForm form, int64_t cols) {
  const size_t n = static_cast<size_t>(cols);
  if (form == ActForm::kF32) return {0, 0, 0, RoundUp64(n * 4)};
  const size_t d_count = form == ActForm::kBlocks32 ? n / 32 : n / 256;
  const size_t sum_count = form == ActForm::kBlocks32 ? n / 32 : n / 16;
  ActLayout layout;
  layout.d = RoundUp64(n);
  layout.sum = layout.d + RoundUp64(d_count * 4);
  layout.row_bytes = layout.sum + RoundUp64(sum_count * 2);
  return layout;
}

// ---- Matrix slots: four per weight type and Compute
// ---------------------------------------------------------------

enum class Compute : uint8_t {
  kFast,  // quantised weights meet quantised activations in integers; f32/f16/bf16 weights meet f32
          // activations
  kExact,  // every weight is expanded to f32 and meets f32 activations: what the goldens are
           // compared with
};

struct QuantizeRowsArgs {
  const float* x;  // [n_rows, cols], rows x_stride floats apart
  int64_t x_stride;
  void* out;  // [n_rows] activation rows, LayoutOf(form, cols).row_bytes apart, 64-byte aligned
  int n_rows;
  int cols;  // a multiple of the weight type's block
};

struct PackTileArgs {
  const void* weights;  // first of n_rows file rows, row_bytes apart; any alignment
  size_t row_bytes;
  int n_rows;  // 1..kTileRows; what stands in the tile for missing rows is the kernel's affair
  int cols;
  void* tile;  // tile_bytes(cols) bytes, 64-byte aligned
};

struct GemmTileArgs {
  const void* tile;  // from pack_tile of the same slot set
  int n_rows;        // valid rows of the tile, 1..kTileRows
  int cols;
  const void* acts;         // activation rows
  size_t act_stride;        // bytes between activation rows
  const int32_t* act_rows;  // [n_tokens] row of acts for each token; nullptr: 0, 1, 2, ...
  int n_tokens;
  float* out;  // out[t * out_stride + r], r < n_rows: nothing else is written
  int64_t out_stride;
};

struct GemvRowsArgs {
  const void* weights;  // first of n_rows file rows, row_bytes apart; any alignment
  size_t row_bytes;
  int n_rows;  // 1..kTileRows
  int cols;
  const void* act;  // activation rows
  float* out;       // out[t * out_stride + r], r < n_rows: nothing else is written
  // For more tokens than one, which share the reading of the file rows where a kernel can:
  int n_tokens = 1;
  size_t act_stride = 0;              // bytes between activation rows
  const int32_t* act_rows = nullptr;  // [n_tokens] as in GemmTileArgs
  int64_t out_stride = 0;
};
/// Calls one(args of that token) for each of them: for kernels that gain nothing from several.
template <void (*kOne)(const GemvRowsArgs&) noexcept>
void EachToken(const GemvRowsArgs& args) noexcept {
  for (int t = 0; t < args.n_tokens; ++t) {
    GemvRowsArgs one = args;
    const auto row = static_cast<size_t>(args.act_rows != nullptr ? args.act_rows[t] : t);
    one.act = static_cast<const std::byte*>(args.act) + row * args.act_stride;
    one.out = args.out + t * args.out_stride;
    kOne(one);
  }
}

using QuantizeRowsFn = void(const QuantizeRowsArgs&) noexcept;
using PackTileFn = void(const PackTileArgs&) noexcept;
using GemmTileFn = void(const GemmTileArgs&) noexcept;
using GemvRowsFn = void(const GemvRowsArgs&) noexcept;
using TileBytesFn = size_t(int cols) noexcept;

template <class Fn>
struct Slot {
  Fn* fn = nullptr;
  Isa isa = Isa::kScalar;
};

/// The slots of one weight type. They share private formats (activations, tile), so an ISA installs
/// all of them or none. gemv_rows and gemm_tile give bitwise the same result for the same weight
/// row and activation row.
struct MatrixSlots {
  ActForm act_form = ActForm::kF32;
  Slot<QuantizeRowsFn> quantize_rows;
  Slot<PackTileFn> pack_tile;
  Slot<GemmTileFn> gemm_tile;
  Slot<GemvRowsFn> gemv_rows;
  TileBytesFn* tile_bytes = nullptr;
};

// ---- Attention
// ----------------------------------------------------------------------------------------------------

struct AttendTileArgs {
  const float* q;  // [n_q, head_dim] contiguous, already scaled by head_dim^-0.5
  int n_q;
  int head_dim;
  const void* k;         // [kKvTile, head_dim] contiguous in the slot's type
  const void* v;         // [kKvTile, head_dim]
  const int32_t* first;  // [n_q] query i sees positions [first[i], last[i]) of this tile, 0 <=
                         // first <= last <= kKvTile;
  const int32_t*
      last;  // [n_q] nothing outside is read; first == last: the query's state is left as it is
  float* maximum;      // [n_q] running maximum of scores, starts at -infinity
  float* denominator;  // [n_q] running sum of exp(score - maximum), starts at 0
  float* acc;          // [n_q, head_dim] running sum of exp(score - maximum) * v, starts at 0
};
using AttendTileFn = void(const AttendTileArgs&) noexcept;

// ---- Rows
// ---------------------------------------------------------------------------------------------------------

/// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; out may be x.
using RmsNormFn = void(const float* x, const float* weight, float eps, int n, float* out) noexcept;
/// Row order of q and k within a head as the checkpoint has it; the result is interleaved always
/// (PAPER 1.4).
enum class RopeLayout : uint8_t {
  kInterleaved,  // pair j = (x[2j], x[2j+1]): Mistral-native, GGUF
  kHalf,         // pair j = (x[j], x[j + head_dim/2]): Hugging Face
};
struct RopeArgs {
  const float* x;    // [n_heads, head_dim] contiguous
  const float* cos;  // [head_dim / 2] of this position
  const float* sin;  // [head_dim / 2]
  RopeLayout layout;
  int n_heads;
  int head_dim;
  float scale;  // every output is multiplied by it after rotating (head_dim^-0.5 for q, 1 for k)
  float* out;   // [n_heads, head_dim], pairs interleaved; not x
};
using RopeFn = void(const RopeArgs&) noexcept;
/// out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; out may be gate.
using SiluMulFn = void(const float* gate, const float* up, int n, float* out) noexcept;
/// y[i] = fma(scale, x[i], y[i])
using AddScaledFn = void(const float* x, float scale, int n, float* y) noexcept;
/// A row of n stored elements (any alignment) to f32, exactly as the format defines it.
using ToF32Fn = void(const void* row, int n, float* out) noexcept;
/// f32 to n stored elements (kF32, kF16, kBF16 only; round to nearest even).
using FromF32Fn = void(const float* x, int n, void* row) noexcept;

// ---- Ceilings: what this processor could do at best, for `mixtral bench` and `mixtral info`
// ---------------------------------------------------------------------------------------------------------

enum class Peak : uint8_t {
  kInt8,       // the shortest sequence that multiplies int8 exactly, whatever the values are
  kInt8Sum16,  // the same adding in int16: what four-bit weights allow for 32 columns
  kF32,
};
inline constexpr int kNumPeaks = 3;
/// Multiplies and adds out of registers, n_passes times over. Gives the operations done: a product
/// and its addition are two.
using PeakFn = int64_t(int64_t n_passes) noexcept;
/// The exclusive or of the n / 8 whole 64-bit words at p: reads them all and does little else.
using ReadWordsFn = uint64_t(const void* p, size_t n) noexcept;

struct KernelTable {
  std::array<std::array<MatrixSlots, kNumMatrixDTypes>, 2> matrix;  // [Compute][DType]
  std::array<Slot<ToF32Fn>, kNumMatrixDTypes> to_f32;
  std::array<Slot<FromF32Fn>, 3> from_f32;        // kF32, kF16, kBF16
  std::array<Slot<AttendTileFn>, 2> attend_tile;  // cache type kF32, kF16
  Slot<RmsNormFn> rms_norm;
  Slot<RopeFn> rope;
  Slot<SiluMulFn> silu_mul;
  Slot<AddScaledFn> add_scaled;
  std::array<Slot<PeakFn>, kNumPeaks> peaks;  // [Peak]
  Slot<ReadWordsFn> read_words;

  const MatrixSlots& Matrix(Compute compute, DType dtype) const {
    return matrix[static_cast<size_t>(compute)][Index(dtype)];
  }
};

/// The table of the best kernels up to max; scalar fills every slot.
KernelTable BuildTable(Isa max);
/// Built once, at the first call, for HostIsa() capped by the environment variable MIXTRAL_ISA
/// ("scalar", "avx2"). An unknown value, or one that the host cannot run, gives nullptr and
/// *problem a text that says so.
const KernelTable* ActiveKernels(const char** problem);
Isa ActiveIsa();

}  // namespace mixtral::kernels
