// SPDX-License-Identifier: Apache-2.0
// E4M3 with scales -> F16 (fp8_weights.h). F16 keeps 11 bits of each product, eight times as many
// as BF16 would; a value beyond its range is refused and not made infinite.
#include "io/fp8_weights.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "io/shape.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

/// Scales of blocks [rows, cols] of a matrix, in order [n_down, n_across].
struct Scales {
  TensorView view;
  int64_t rows = 0, cols = 0, n_across = 0;
};

float ElementAt(const TensorView& view, int64_t i) {
  const std::byte* at = view.bytes.data() + i * Info(view.dtype).block_bytes;
  switch (view.dtype) {
    case DType::kF16:
      return F16ToF32(LoadUnaligned<uint16_t>(at));
    case DType::kBF16:
      return Bf16ToF32(LoadUnaligned<uint16_t>(at));
    default:
      return LoadUnaligned<float>(at);
  }
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Scales ReadScales(const Checkpoint& checkpoint, const std::string& name, const Fp8Tensor& weight,
                  const QuantizationConfig& config) {
  const TensorView& view = *checkpoint.Find(name);
  if (view.dtype != DType::kF32 && view.dtype != DType::kF16 && view.dtype != DType::kBF16)
    Throw(ErrorCode::kUnsupported, "scale type: expected F32, F16 or BF16, found {}, in {}",
          mixtral::Name(view.dtype), checkpoint.Where(name));
  const int64_t rows = weight.shape[0], cols = weight.shape[1];
  const int64_t n = view.Elements();
  if (n == 1) return {view, rows, cols, 1};
  const bool per_row = view.shape[0] == rows && n == rows && view.rank <= 2;
  if (per_row) return {view, 1, cols, 1};
  if (config.block_rows > 0) {
    const int64_t down = CeilDiv(rows, config.block_rows),
                  across = CeilDiv(cols, config.block_cols);
    if (view.rank == 2 && view.shape[0] == down && view.shape[1] == across)
      return {view, config.block_rows, config.block_cols, across};
  }
  Throw(ErrorCode::kCorrupt,
        "scale shape: expected one scale, {} (a row each) or those of the blocks of "
        "weight_block_size, found {}, in {}",
        rows, ShapeText(std::span(view.shape).first(static_cast<size_t>(view.rank))),
        checkpoint.Where(name));
}

const std::array<float, 256>& Table() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values;
    for (size_t i = 0; i < values.size(); ++i) values[i] = E4m3ToF32(static_cast<uint8_t>(i));
    return values;
  }();
  return table;
}

/// weight [rows, cols] -> F16 out [rows, cols].
void Dequantize(const Fp8Tensor& weight, const Scales& scales, std::span<std::byte> out) {
  constexpr float kMost = 65504;
  const auto& table = Table();
  const int64_t rows = weight.shape[0], cols = weight.shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t first = r / scales.rows * scales.n_across;
    for (int64_t block = 0; block < scales.n_across; ++block) {
      const float scale = ElementAt(scales.view, first + block);
      const int64_t end = std::min(cols, (block + 1) * scales.cols);
      float largest = 0;
      for (int64_t i = r * cols + block * scales.cols; i < r * cols + end; ++i) {
        const float w = table[static_cast<uint8_t>(weight.bytes[static_cast<size_t>(i)])] * scale;
        largest = std::max(largest, std::fabs(w));
        const uint16_t bits = F32ToF16(w);
        std::memcpy(out.data() + i * 2, &bits, sizeof bits);
      }
      if (largest > kMost)
        Throw(ErrorCode::kUnsupported, "weight: expected at most {} (F16's range), found {}", kMost,
              largest);
    }
  }
}

}  // namespace

std::vector<MadeTensor> DequantizedFp8(const Checkpoint& checkpoint,
                                       const std::vector<Fp8Tensor>& weights,
                                       const QuantizationConfig& config) {
  std::vector<MadeTensor> made;
  for (const Fp8Tensor& weight : weights) {
    const std::string& name = weight.name;
    if (weight.shape.size() != 2)
      Throw(ErrorCode::kUnsupported, "FP8 weight {}: expected 2 dimensions, found {}, in {}",
            Printable(name), weight.shape.size(), checkpoint.path());
    std::string scale_name;
    for (const char* suffix : {"_scale", "_scale_inv"})
      if (checkpoint.Look(name + suffix) != nullptr) scale_name = name + suffix;
    if (scale_name.empty())
      Throw(ErrorCode::kNotFound,
            "tensor {}_scale: expected the scale of FP8 weights, found none, in {}",
            Printable(name), checkpoint.path());
    const Scales scales = ReadScales(checkpoint, scale_name, weight, config);
    made.push_back(
        {name,
         DType::kF16,
         weight.shape,
         {name, scale_name},
         [weight, scales](std::span<std::byte> out) { Dequantize(weight, scales, out); }});
  }
  return made;
}

}  // namespace mixtral
