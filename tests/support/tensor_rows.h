// SPDX-License-Identifier: Apache-2.0
// Rows of floats <-> the stored types, by the scalar definitions of tensor/. Used by the tests'
// writers and by the reference model; no kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace mixtral::testing {

/// values [rows, cols] as rows of dtype; cols a multiple of its block.
std::vector<std::byte> EncodeRows(DType dtype, const std::vector<float>& values, int64_t rows,
                                  int64_t cols);
/// All elements of a tensor in order.
std::vector<float> DecodeTensor(const TensorView& view);

}  // namespace mixtral::testing
