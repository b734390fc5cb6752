// SPDX-License-Identifier: Apache-2.0
// What a model costs: bytes of weights, cache and scratch, bytes read per decoded token. Printed by
// `info`, used for the GB/s that `run` reports.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "model/loader.h"
#include "tensor/dtype.h"

namespace mixtral {

struct MemoryPlan {
  uint64_t weight_bytes = 0;  // all tensors
  uint64_t active_bytes =
      0;  // weights read for one token: all but the embedding table, K experts a layer
  uint64_t kv_bytes_per_position = 0;
  uint64_t scratch_bytes = 0;  // activations of a step of 512 rows; an estimate, without what each
                               // thread has for itself
  std::map<std::string, uint64_t> bytes_by_type;  // "Q4_K" -> bytes, all tensors
};

/// From the checkpoint's own tensors; nothing is uploaded or read.
MemoryPlan PlanMemory(const Checkpoint& checkpoint, const ModelConfig& config, DType kv_dtype);

}  // namespace mixtral
