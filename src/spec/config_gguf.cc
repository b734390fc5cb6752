// SPDX-License-Identifier: Apache-2.0
// GGUF metadata of architecture "llama" -> ModelConfig (PAPER 1.7). Keys have dots in them: the
// object is flat. Tied embeddings have no key: the file then lacks output.weight, which the loader
// sees.
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "spec/config_check.h"

namespace mixtral {
namespace {

constexpr FieldNames kNames = {
    .n_layers = "llama.block_count",
    .dim = "llama.embedding_length",
    .ffn_dim = "llama.feed_forward_length",
    .n_heads = "llama.attention.head_count",
    .n_kv_heads = "llama.attention.head_count_kv",
    .head_dim = "llama.attention.key_length",
    .vocab_size = "llama.vocab_size",
    .n_experts = "llama.expert_count",
    .experts_per_token = "llama.expert_used_count",
    .max_context = "llama.context_length",
    .sliding_window = "llama.attention.sliding_window",
    .rope_theta = "llama.rope.freq_base",
    .norm_eps = "llama.attention.layer_norm_rms_epsilon",
};
constexpr std::string_view kRotated = "llama.rope.dimension_count";
constexpr std::string_view kValueLength = "llama.attention.value_length";
constexpr float kDefaultTheta = 1e4f;

int ReadHeadDim(const Json& metadata, const ModelConfig& config) {
  int head_dim = 0;
  if (metadata.Find(kNames.head_dim)) {
    head_dim = ReadInt(metadata, kNames.head_dim);
  } else if (metadata.Find(kRotated)) {
    head_dim = ReadInt(metadata, kRotated);
  } else {
    head_dim = DerivedHeadDim(config, kNames);
  }
  for (const std::string_view key : {kRotated, kValueLength}) {
    const int found = ReadInt(metadata, key, head_dim);
    if (found != head_dim)
      Throw(ErrorCode::kUnsupported, "{}: expected {} (the head's dimension), found {}", key,
            head_dim, found);
  }
  return head_dim;
}

/// A key that is a plain factor: 0 and 1 change nothing.
void RefuseFactor(const Json& metadata, std::string_view key) {
  const float factor = ReadFloat(metadata, key, 1);
  if (!(factor == 0 || factor == 1))
    Throw(ErrorCode::kUnsupported, "{}: expected 1, found {}, which is not supported", key, factor);
}

void RefuseUnsupported(const Json& metadata) {
  const std::optional<Json> scaling = metadata.Find("llama.rope.scaling.type");
  const std::string type = scaling ? scaling->AsString() : "none";
  if (type != "none" && !type.empty())
    Throw(ErrorCode::kUnsupported,
          "llama.rope.scaling.type: expected none, found {}, which is not supported",
          Printable(type));
  if (!scaling) {  // without a type a factor means linear scaling
    RefuseFactor(metadata, "llama.rope.scaling.factor");
    RefuseFactor(metadata, "llama.rope.scale_linear");
  }
  RefuseFactor(metadata, "llama.expert_weights_scale");
  RefuseFactor(metadata, "llama.expert_gating_func");  // 1 = softmax
  RefuseFeature(metadata, "llama.expert_shared_count");
}

void ReadExperts(const Json& metadata, ModelConfig* config) {
  config->n_experts = ReadInt(metadata, kNames.n_experts, 0);
  if (config->n_experts != 0)
    config->experts_per_token = ReadInt(metadata, kNames.experts_per_token);
}

}  // namespace

ParsedConfig ConfigFromGguf(const Json& metadata) {
  const std::string architecture = metadata.At("general.architecture").AsString();
  if (architecture != "llama")
    Throw(ErrorCode::kUnsupported,
          "general.architecture: expected llama (Mixtral, Mistral, Llama), found {}",
          Printable(architecture));
  RefuseUnsupported(metadata);
  ParsedConfig parsed;
  ModelConfig& c = parsed.config;
  c.n_layers = ReadInt(metadata, kNames.n_layers);
  c.dim = ReadInt(metadata, kNames.dim);
  c.ffn_dim = ReadInt(metadata, kNames.ffn_dim);
  c.n_heads = ReadInt(metadata, kNames.n_heads);
  c.n_kv_heads = ReadInt(metadata, kNames.n_kv_heads, c.n_heads);
  c.head_dim = ReadHeadDim(metadata, c);
  c.vocab_size = ReadInt(metadata, kNames.vocab_size, 0);
  ReadExperts(metadata, &c);
  c.max_context = ReadInt(metadata, kNames.max_context);
  c.sliding_window = ReadInt(metadata, kNames.sliding_window, 0);
  if (c.sliding_window != 0 && c.n_experts != 0) {
    parsed.notices.push_back(
        fmt::format("{} {} ignored: Mixtral has none", kNames.sliding_window, c.sliding_window));
    c.sliding_window = 0;
  }
  c.rope_theta = ReadFloat(metadata, kNames.rope_theta, kDefaultTheta);
  metadata.At(kNames.norm_eps);  // required: there is no documented default
  c.norm_eps = ReadFloat(metadata, kNames.norm_eps, 0);
  CheckConfig(c, kNames, Vocabulary::kMayBeUnknown);
  return parsed;
}

}  // namespace mixtral
