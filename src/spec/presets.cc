// SPDX-License-Identifier: Apache-2.0
// Shapes from the config.json files that were published with the models (PAPER 1.6); "tiny" is our
// own, with rows of whole K-quant blocks.
#include "spec/presets.h"

#include <array>

#include "base/error.h"

namespace mixtral {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"mixtral-8x7b", "mixtral-8x22b", "mistral-7b",
                                                    "llama-2-70b", "tiny"};

constexpr std::array<ModelConfig, kNames.size()> kConfigs = {{
    {.n_layers = 32,
     .dim = 4096,
     .ffn_dim = 14336,
     .n_heads = 32,
     .n_kv_heads = 8,
     .head_dim = 128,
     .vocab_size = 32000,
     .n_experts = 8,
     .experts_per_token = 2,
     .max_context = 32768,
     .rope_theta = 1e6f,
     .norm_eps = 1e-5f},
    {.n_layers = 56,
     .dim = 6144,
     .ffn_dim = 16384,
     .n_heads = 48,
     .n_kv_heads = 8,
     .head_dim = 128,
     .vocab_size = 32768,
     .n_experts = 8,
     .experts_per_token = 2,
     .max_context = 65536,
     .rope_theta = 1e6f,
     .norm_eps = 1e-5f},
    {.n_layers = 32,
     .dim = 4096,
     .ffn_dim = 14336,
     .n_heads = 32,
     .n_kv_heads = 8,
     .head_dim = 128,
     .vocab_size = 32000,
     .max_context = 32768,
     .sliding_window = 4096,
     .rope_theta = 1e4f,
     .norm_eps = 1e-5f},
    {.n_layers = 80,
     .dim = 8192,
     .ffn_dim = 28672,
     .n_heads = 64,
     .n_kv_heads = 8,
     .head_dim = 128,
     .vocab_size = 32000,
     .max_context = 4096,
     .rope_theta = 1e4f,
     .norm_eps = 1e-5f},
    {.n_layers = 2,
     .dim = 256,
     .ffn_dim = 512,
     .n_heads = 4,
     .n_kv_heads = 2,
     .head_dim = 64,
     .vocab_size = 512,
     .n_experts = 8,
     .experts_per_token = 2,
     .max_context = 32768,
     .rope_theta = 1e6f,
     .norm_eps = 1e-5f},
}};

}  // namespace

std::span<const std::string_view> PresetNames() { return kNames; }

ModelConfig PresetConfig(std::string_view name) {
  std::string list;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return kConfigs[i];
    list += (i == 0 ? "" : ", ") + std::string(kNames[i]);
  }
  Throw(ErrorCode::kInvalidArgument, "shape: expected one of {}, found '{}'", list, name);
}

}  // namespace mixtral
