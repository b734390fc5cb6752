// SPDX-License-Identifier: Apache-2.0
// Row by row through tensor/'s decoders.
#include "train/weight_decode.h"

#include <cstring>

#include "tensor/block_formats.h"
#include "tensor/float_bits.h"
#include "train/model.h"

namespace mixtral::train {
namespace {

void DecodeRow(DType dtype, const std::byte* row, int64_t n, float* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
  } else if (dtype == DType::kF16 || dtype == DType::kBF16) {
    for (int64_t i = 0; i < n; ++i) {
      const auto bits = LoadUnaligned<uint16_t>(row + 2 * i);
      out[i] = dtype == DType::kF16 ? F16ToF32(bits) : Bf16ToF32(bits);
    }
  } else if (kBlockFormats[Index(dtype)].dequantize != nullptr) {
    kBlockFormats[Index(dtype)].dequantize(row, n, out);
  } else {
    Throw(ErrorCode::kUnsupported, "tensor type: expected weights, found {}", Name(dtype));
  }
}

}  // namespace

Tensor DecodeView(const TensorView& view, int n_heads) {
  const int64_t cols = view.shape[static_cast<size_t>(view.rank - 1)];
  const int64_t rows = view.Elements() / cols;
  Tensor out =
      torch::empty(view.rank == 1 ? std::vector<int64_t>{cols} : std::vector<int64_t>{rows, cols});
  const size_t row_bytes = RowBytes(view.dtype, cols);
  const int64_t per_head = n_heads > 0 ? rows / n_heads : rows;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t to = r;
    if (n_heads > 0) {  // interleaved row 2j + i of a head is row i * (P / 2) + j there
      const int64_t in_head = r % per_head;
      to = r - in_head + in_head % 2 * (per_head / 2) + in_head / 2;
    }
    DecodeRow(view.dtype, view.bytes.data() + static_cast<size_t>(r) * row_bytes, cols,
              out.data_ptr<float>() + to * cols);
  }
  return out;
}

Tensor DecodeWeight(const Parameter& parameter) {
  return DecodeView(parameter.quantised, parameter.interleaved_heads);
}

}  // namespace mixtral::train
