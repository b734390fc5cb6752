// SPDX-License-Identifier: Apache-2.0
// ggml's tensor type ids, as GGUF files carry them. Private to the GGUF reader and writer.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace mixtral {

/// The DType of a ggml type id. Throws Error{kUnsupported} with the name of a type that we cannot
/// read, or the number of one that we do not know.
DType DTypeFromGgml(uint32_t id);
/// The other way round.
uint32_t GgmlFromDType(DType dtype);

}  // namespace mixtral
