// SPDX-License-Identifier: Apache-2.0
// Overflow-safe tensor sizes (shape.h).
#include "io/shape.h"

#include <limits>

namespace mixtral {

std::optional<uint64_t> TensorBytes(DType dtype, std::span<const int64_t> shape) {
  uint64_t elements = 1;
  for (const int64_t n : shape) {
    if (n < 0 || __builtin_mul_overflow(elements, static_cast<uint64_t>(n), &elements))
      return std::nullopt;
  }
  const auto block_elements = static_cast<uint64_t>(Info(dtype).block_elements);
  const auto block_bytes = static_cast<uint64_t>(Info(dtype).block_bytes);
  const uint64_t row = shape.empty() ? 1 : static_cast<uint64_t>(shape.back());
  uint64_t bytes = 0;
  if (row % block_elements != 0 ||
      __builtin_mul_overflow(elements / block_elements, block_bytes, &bytes) ||
      bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
      elements > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return std::nullopt;
  return bytes;
}

std::string ShapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace mixtral
