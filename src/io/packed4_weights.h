// SPDX-License-Identifier: Apache-2.0
// GPTQ and AWQ 4-bit weights as blocks that the kernels run: w = scale * (q - zero) is exactly a
// Q4_0 block where every zero is 8, and else exactly a Q5_0 block. Called by hf_dir.cc.
#pragma once

#include <vector>

#include "io/mapped_checkpoint.h"
#include "io/quantization_config.h"

namespace mixtral {

/// For every X.qweight with X.qzeros, X.scales and GPTQ's X.g_idx: X.weight [out, in]. Q4_0 or Q5_0
/// bit by bit where groups are runs of whole blocks and scales are F16; else (desc_act, odd groups,
/// other scales) F16, rounded once. Throws Error{kNotFound, kCorrupt} naming the tensor.
std::vector<MadeTensor> DequantizedPacked4(const Checkpoint& checkpoint,
                                           const QuantizationConfig& config);

/// X.bias of quantised modules that hold nothing but zeros: converters add them where a model has
/// none.
std::vector<std::string> ZeroBiases(const Checkpoint& checkpoint);

}  // namespace mixtral
