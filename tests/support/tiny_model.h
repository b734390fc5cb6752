// SPDX-License-Identifier: Apache-2.0
// Random tiny Mixtrals for tests: any shape, weights from the counter-based generator, so that a
// (config, seed) pair is the same model on every machine. model_files.h writes them as checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec/config.h"
#include "spec/names.h"

namespace mixtral::testing {

/// A tensor in f32, q and k rows in the Hugging Face (half-split) order.
struct TinyTensor {
  TensorRole role;
  int layer = 0;
  int expert = -1;             // -1: not an expert's, or the dense FFN's
  int64_t rows = 1, cols = 0;  // a vector has rows = 1
  std::vector<float> values;   // [rows, cols]
};

enum class TinyValues : uint8_t {
  kExact16,  // every value is exact in f16, bf16 and f32 alike
  kF32,      // full mantissas
};

struct TinyModel {
  ModelConfig config;
  std::vector<TinyTensor> tensors;

  const TinyTensor& Get(TensorRole role, int layer = 0, int expert = -1) const;
};

/// vocab 288, dim 32, 2 layers, 4/2 heads x 8, ffn 48, 4 experts top 2.
ModelConfig TinyConfig();
/// The same with every row a multiple of 256 values, for the K-quants: dim 256, ffn 256.
ModelConfig TinyConfig256();

/// Logits with a standard deviation of about 3 and clear routing, like the fixtures.
TinyModel MakeTinyModel(const ModelConfig& config, uint64_t seed,
                        TinyValues values = TinyValues::kExact16);

bool IsVector(TensorRole role);  // norm weights

/// Rows of q or k from half-split to interleaved order: row 2j+i of a head = row i*P/2 + j.
std::vector<float> InterleaveRows(const TinyTensor& tensor, int head_dim);

/// Deterministic token ids in [0, vocab_size).
std::vector<int32_t> RandomTokens(int n, int vocab_size, uint64_t seed);

}  // namespace mixtral::testing
