// SPDX-License-Identifier: Apache-2.0
// What a Mixtral is, on paper: the shape of a model, read from a checkpoint's own metadata and
// validated once. Used by model, convert and train. There is no list of model names: variants are
// data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace mixtral {

struct ModelConfig {
  int n_layers = 0;
  int dim = 0;                // model dimension D
  int ffn_dim = 0;            // hidden dimension of one expert F
  int n_heads = 0;            // query heads H
  int n_kv_heads = 0;         // key/value heads G; divides n_heads
  int head_dim = 0;           // P, even; not always dim / n_heads
  int vocab_size = 0;         // V
  int n_experts = 0;          // E; 0 = dense FFN
  int experts_per_token = 0;  // K; 0 when dense
  int max_context = 0;        // positions
  int sliding_window =
      0;  // positions; 0 = none. Mixtral has none, whatever its file says (PAPER 1.5)
  float rope_theta = 0;
  float norm_eps = 0;
  bool tied_embeddings = false;

  /// Throws Error{kCorrupt}: "experts_per_token: expected 1..4
  /// (n_experts), found 5". The readers below check the same with the names of their own format.
  void Validate() const;

  // Exact parameter counts (PAPER 1.6).
  int64_t TotalParameters() const;
  int64_t ActiveParameters() const;  // one token: K experts, the whole embedding table
};

/// A config and what was remarkable in reading it ("sliding_window 4096 ignored: Mixtral has
/// none").
struct ParsedConfig {
  ModelConfig config;
  std::vector<std::string> notices;
};

/// Hugging Face config.json (model_type mixtral; mistral and llama as dense). Unknown model_type,
/// hidden_act, rope_scaling: kUnsupported.
ParsedConfig ConfigFromHuggingFace(const Json& config);
/// Mistral-native params.json. vocab_size may be missing or -1 there: then it is 0 and the loader
/// takes it from the embedding.
ParsedConfig ConfigFromMistral(const Json& params);
/// GGUF metadata of architecture "llama", as the flat object that io/gguf.h makes of it. vocab_size
/// as above.
ParsedConfig ConfigFromGguf(const Json& metadata);

}  // namespace mixtral
