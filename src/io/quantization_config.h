// SPDX-License-Identifier: Apache-2.0
// How the weights of a quantised Hugging Face checkpoint are stored, read from its
// quantization_config. Used by hf_dir.cc; the conversions are fp8_weights.cc and
// packed4_weights.cc.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"

namespace mixtral {

enum class QuantMethod : uint8_t { kFp8, kGptq, kAwq };
std::string_view QuantMethodText(QuantMethod method);  // "FP8", "GPTQ 4-bit", "AWQ 4-bit"

struct QuantizationConfig {
  QuantMethod method = QuantMethod::kFp8;
  int64_t block_rows = 0, block_cols = 0;  // FP8: of one scale; 0 = one scale a tensor or row
  int64_t group_size = -1;                 // GPTQ, AWQ: inputs that share a scale; -1 = all
  int zero_offset = 0;        // GPTQ: what is added to a stored zero point (1 in its first version)
  bool is_symmetric = false;  // GPTQ: every zero point is 8
  bool is_reordered = false;  // GPTQ desc_act: g_idx tells each input's group
};

/// A "quantization_config" object, or an old quantize_config.json. Throws Error{kUnsupported} for
/// another quant_method, number of bits or packing, by name.
QuantizationConfig ParseQuantizationConfig(const Json& json);

}  // namespace mixtral
