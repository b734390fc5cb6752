// SPDX-License-Identifier: Apache-2.0
// ModelConfig's own rules and exact parameter counts. The readers of the three formats are
// config_{hf,mistral,gguf}.cc.
#include "spec/config.h"

#include "spec/config_check.h"

namespace mixtral {
namespace {

constexpr FieldNames kPlainNames = {
    .n_layers = "n_layers",
    .dim = "dim",
    .ffn_dim = "ffn_dim",
    .n_heads = "n_heads",
    .n_kv_heads = "n_kv_heads",
    .head_dim = "head_dim",
    .vocab_size = "vocab_size",
    .n_experts = "n_experts",
    .experts_per_token = "experts_per_token",
    .max_context = "max_context",
    .sliding_window = "sliding_window",
    .rope_theta = "rope_theta",
    .norm_eps = "norm_eps",
};

// With the ranges of Validate the largest count stays below 2^62, so nothing here overflows.
int64_t Parameters(const ModelConfig& c, int64_t experts) {
  const int64_t dim = c.dim, ffn_dim = c.ffn_dim;
  const int64_t q_width = int64_t{c.n_heads} * c.head_dim;
  const int64_t kv_width = int64_t{c.n_kv_heads} * c.head_dim;
  const int64_t attention = 2 * dim * q_width + 2 * dim * kv_width;
  const int64_t norms = 2 * dim;
  const int64_t router = dim * c.n_experts;
  const int64_t layer = attention + norms + router + experts * 3 * dim * ffn_dim;
  const int64_t tables = (c.tied_embeddings ? 1 : 2) * int64_t{c.vocab_size} * dim;
  return c.n_layers * layer + tables + dim;
}

}  // namespace

void ModelConfig::Validate() const { CheckConfig(*this, kPlainNames, Vocabulary::kRequired); }

int64_t ModelConfig::TotalParameters() const {
  return Parameters(*this, n_experts == 0 ? 1 : n_experts);
}

int64_t ModelConfig::ActiveParameters() const {
  return Parameters(*this, n_experts == 0 ? 1 : experts_per_token);
}

}  // namespace mixtral
