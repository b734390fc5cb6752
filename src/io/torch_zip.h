// SPDX-License-Identifier: Apache-2.0
// PyTorch's .pt and .pth files: a zip archive whose data.pkl describes tensors and whose other
// members are their storages. Nothing is executed; tensors are views of the mapped bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/view.h"

namespace mixtral {

/// In the order of the state dict. Views into bytes, which must outlive the result; they may share
/// bytes, as tied tensors do. Throws Error{kCorrupt, kUnsupported} naming WHERE:TENSOR; types other
/// than F32, F16, BF16 and I32, and tensors that do not lie row by row, are refused.
std::vector<std::pair<std::string, TensorView>> ParseTorchZip(std::span<const std::byte> bytes,
                                                              std::string_view where = "pt");

}  // namespace mixtral
