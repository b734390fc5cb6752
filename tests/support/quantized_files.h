// SPDX-License-Identifier: Apache-2.0
// Writes Hugging Face folders with FP8, GPTQ and AWQ weights, from the layouts' descriptions and
// not from src/io. For tests only.
#pragma once

#include <cstdint>
#include <string>

#include "support/tiny_model.h"
#include "tensor/dtype.h"

namespace mixtral::testing {

enum class Packing : uint8_t { kGptq, kGptqV2, kAwq };

struct Packed4Options {
  Packing packing = Packing::kGptq;
  int group = 32;          // -1: one for all inputs
  bool symmetric = false;  // GPTQ: every zero point 8
  bool reordered = false;  // GPTQ desc_act: groups of inputs in no order
  DType scales = DType::kF16;
  bool zero_biases = false;
  bool config_in_own_file = false;  // quantize_config.json
};

/// Random 4-bit weights for every matrix of a layer but the router, in model's shapes. Returns the
/// model that they mean: every w = scale * (q - zero), in f32.
TinyModel WritePacked4(const TinyModel& model, const std::string& dir,
                       const Packed4Options& options);

enum class Fp8Scales : uint8_t { kTensor, kRow, kBlocks };  // blocks of 16 x 24

/// The same for E4M3. weight_scale, or weight_scale_inv where scales are of blocks.
TinyModel WriteFp8(const TinyModel& model, const std::string& dir, Fp8Scales scales);

}  // namespace mixtral::testing
