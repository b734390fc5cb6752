// SPDX-License-Identifier: Apache-2.0
// A GGUF file of a true shape with random weights, made by `mixtral bench --shape`. Weights are a
// file like any other, so that they are mapped and cached as those of a real model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "spec/config.h"
#include "tensor/dtype.h"

namespace mixtral {

struct RandomModel {
  std::string name;           // general.name
  ModelConfig config;         // rows of whole blocks of the type
  DType type = DType::kQ4_K;  // of all matrices but the router (F32) and, for K-quants, the output
                              // (Q6_K, as converters leave it)
  uint64_t seed = 1;
};

/// Size of the file that WriteRandomModel makes.
uint64_t RandomModelBytes(const RandomModel& model);

/// Writes it: hidden states have no direction in common, so that routing is balanced; activations
/// stay finite. on_progress gets bytes of FileBytes and gives false to end the work; then nothing
/// is left behind and the result is false. Throws as OutputFile.
bool WriteRandomModel(const RandomModel& model, const std::string& path,
                      const std::function<bool(uint64_t done, uint64_t total)>& on_progress);

}  // namespace mixtral
