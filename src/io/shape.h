// SPDX-License-Identifier: Apache-2.0
// Sizes and texts of shapes, overflow-safe, for the parsers of io/ (shapes come from hostile
// bytes).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tensor/dtype.h"

namespace mixtral {

/// Bytes of a dense tensor of this shape (slowest dimension first). nullopt when a dimension is
/// negative, the size does not fit 63 bits, or a row is not a whole number of blocks.
std::optional<uint64_t> TensorBytes(DType dtype, std::span<const int64_t> shape);

/// "[64, 32]"
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace mixtral
