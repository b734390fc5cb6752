// SPDX-License-Identifier: Apache-2.0
// One switch over the types in each direction; the block formats themselves are in tensor/.
#include "support/tensor_rows.h"

#include <cstring>

#include "base/check.h"
#include "tensor/block_formats.h"
#include "tensor/block_quantize.h"
#include "tensor/float_bits.h"

namespace mixtral::testing {

namespace {

template <class... Blocks>
void EncodeBlocks(DType dtype, const float* x, int64_t n, std::byte* row, BlockList<Blocks...>) {
  ((dtype == Blocks::kDType ? QuantizeRow<Blocks>(x, n, row) : void()), ...);
}

void EncodeRow(DType dtype, const float* x, int64_t n, std::byte* row) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(row, x, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
    case DType::kBF16:
      for (int64_t i = 0; i < n; ++i) {
        const uint16_t bits = dtype == DType::kF16 ? F32ToF16(x[i]) : F32ToBf16(x[i]);
        std::memcpy(row + i * 2, &bits, sizeof bits);
      }
      return;
    case DType::kI32:
      for (int64_t i = 0; i < n; ++i) {
        const auto value = static_cast<int32_t>(x[i]);
        std::memcpy(row + i * 4, &value, sizeof value);
      }
      return;
    default:
      return EncodeBlocks(dtype, x, n, row, AllBlocks{});
  }
}

void DecodeRow(DType dtype, const std::byte* row, int64_t n, float* out) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
    case DType::kBF16:
      for (int64_t i = 0; i < n; ++i) {
        const auto bits = LoadUnaligned<uint16_t>(row + i * 2);
        out[i] = dtype == DType::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
      }
      return;
    case DType::kI32:
      return Check(false, "integers are no weights");
    default:
      return kBlockFormats[Index(dtype)].dequantize(row, n, out);
  }
}

}  // namespace

std::vector<std::byte> EncodeRows(DType dtype, const std::vector<float>& values, int64_t rows,
                                  int64_t cols) {
  Check(cols % Info(dtype).block_elements == 0, "a row must be whole blocks");
  Check(static_cast<int64_t>(values.size()) == rows * cols, "values [rows, cols]");
  const size_t row_bytes = RowBytes(dtype, cols);
  std::vector<std::byte> out(static_cast<size_t>(rows) * row_bytes);
  for (int64_t row = 0; row < rows; ++row)
    EncodeRow(dtype, values.data() + row * cols, cols,
              out.data() + static_cast<size_t>(row) * row_bytes);
  return out;
}

std::vector<float> DecodeTensor(const TensorView& view) {
  std::vector<float> out(static_cast<size_t>(view.Elements()));
  DecodeRow(view.dtype, view.bytes.data(), view.Elements(), out.data());
  return out;
}

}  // namespace mixtral::testing
