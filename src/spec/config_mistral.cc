// SPDX-License-Identifier: Apache-2.0
// Mistral's own params.json -> ModelConfig (PAPER 1.1). The file names no context length, and
// Mixtral's names no rope_theta.
#include "base/error.h"
#include "base/strings.h"
#include "spec/config_check.h"

namespace mixtral {
namespace {

constexpr FieldNames kNames = {
    .n_layers = "n_layers",
    .dim = "dim",
    .ffn_dim = "hidden_dim",
    .n_heads = "n_heads",
    .n_kv_heads = "n_kv_heads",
    .head_dim = "head_dim",
    .vocab_size = "vocab_size",
    .n_experts = "moe.num_experts",
    .experts_per_token = "moe.num_experts_per_tok",
    .max_context = "max_seq_len",
    .sliding_window = "sliding_window",
    .rope_theta = "rope_theta",
    .norm_eps = "norm_eps",
};

constexpr int kAssumedContext = 32768;  // of Mistral 7B and Mixtral 8x7B
constexpr float kAssumedTheta = 1e6f;   // what mistral-inference takes when the key is absent
constexpr float kAssumedNormEps = 1e-5f;

void RefuseUnsupported(const Json& params) {
  const std::optional<Json> type = params.Find("model_type");
  if (type && type->AsString() != "transformer")
    Throw(ErrorCode::kUnsupported, "$.model_type: expected transformer, found {}",
          Printable(type->AsString()));
  for (const char* key :
       {"rope_scaling", "yarn", "lora", "quantization", "vision_encoder", "use_biases"})
    RefuseFeature(params, key);
}

void ReadExperts(const Json& params, ModelConfig* config) {
  const std::optional<Json> moe = params.Find("moe");
  if (!moe) return;
  config->n_experts = ReadInt(*moe, "num_experts");
  config->experts_per_token = ReadInt(*moe, "num_experts_per_tok");
  if (config->n_experts < 1)
    Throw(ErrorCode::kCorrupt, "{}: expected at least 1, found {}", kNames.n_experts,
          config->n_experts);
  for (const char* key : {"num_shared_experts", "first_k_dense_replace"}) RefuseFeature(*moe, key);
}

/// The params.json of Mixtral's first release had Hugging Face's keys, no model_type, and its
/// sliding_window as text.
ParsedConfig ConfigOfFirstRelease(const Json& params) {
  Json config = params;
  if (!params.Find("model_type"))
    config.Set("model_type", params.Find("num_local_experts") ? "mixtral" : "mistral");
  const std::optional<Json> window = params.Find(kNames.sliding_window);
  if (window && window->IsString()) {
    const std::string text = window->AsString();
    if (text.empty() || text.size() > 9 ||
        text.find_first_not_of("0123456789") != std::string::npos)
      Throw(ErrorCode::kCorrupt, "{}: expected a number, found '{}'", window->path(),
            Printable(text));
    config.Set(kNames.sliding_window, std::stoi(text));
  }
  return ConfigFromHuggingFace(config);
}

}  // namespace

ParsedConfig ConfigFromMistral(const Json& params) {
  if (!params.Find(kNames.dim) && params.Find("hidden_size")) return ConfigOfFirstRelease(params);
  RefuseUnsupported(params);
  ParsedConfig parsed;
  ModelConfig& c = parsed.config;
  c.n_layers = ReadInt(params, kNames.n_layers);
  c.dim = ReadInt(params, kNames.dim);
  c.ffn_dim = ReadInt(params, kNames.ffn_dim);
  c.n_heads = ReadInt(params, kNames.n_heads);
  c.n_kv_heads = ReadInt(params, kNames.n_kv_heads, c.n_heads);
  c.head_dim =
      params.Find(kNames.head_dim) ? ReadInt(params, kNames.head_dim) : DerivedHeadDim(c, kNames);
  c.vocab_size = ReadInt(params, kNames.vocab_size, 0);
  if (c.vocab_size == -1) c.vocab_size = 0;
  ReadExperts(params, &c);
  c.max_context = ReadInt(params, kNames.max_context, kAssumedContext);
  c.sliding_window = ReadInt(params, kNames.sliding_window, 0);
  if (c.sliding_window != 0 && c.n_experts != 0) {
    parsed.notices.push_back(
        fmt::format("sliding_window {} ignored: Mixtral has none", c.sliding_window));
    c.sliding_window = 0;
  }
  c.rope_theta = ReadFloat(params, kNames.rope_theta, kAssumedTheta);
  c.norm_eps = ReadFloat(params, kNames.norm_eps, kAssumedNormEps);
  if (const std::optional<Json> tied = params.Find("tied_embeddings"))
    c.tied_embeddings = tied->AsBool();
  CheckConfig(c, kNames, Vocabulary::kMayBeUnknown);
  return parsed;
}

}  // namespace mixtral
