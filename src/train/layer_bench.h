// SPDX-License-Identifier: Apache-2.0
// `mixtral-train bench`: forward and backward passes of the dropless layer and of the loop over
// experts that it replaces, on the same random routing.
#pragma once

#include <cstdint>
#include <string>

namespace mixtral::train {

/// The defaults are the shape of the model that ships.
struct BenchShape {
  int64_t dim = 256, ffn_dim = 512, n_experts = 8, top_k = 2, n_tokens = 4096;
};

/// A table: tokens per second, share of the measured GEMM peak, peak memory above the start.
std::string BenchLayer(const BenchShape& shape);

}  // namespace mixtral::train
