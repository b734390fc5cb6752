// SPDX-License-Identifier: Apache-2.0
// Hugging Face's config.json -> ModelConfig. Defaults are those that the transformers classes
// document for keys that their files may lack; anything that would change the arithmetic and that
// we do not run is refused by name.
#include <array>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "spec/config_check.h"

namespace mixtral {
namespace {

constexpr FieldNames kNames = {
    .n_layers = "num_hidden_layers",
    .dim = "hidden_size",
    .ffn_dim = "intermediate_size",
    .n_heads = "num_attention_heads",
    .n_kv_heads = "num_key_value_heads",
    .head_dim = "head_dim",
    .vocab_size = "vocab_size",
    .n_experts = "num_local_experts",
    .experts_per_token = "num_experts_per_tok",
    .max_context = "max_position_embeddings",
    .sliding_window = "sliding_window",
    .rope_theta = "rope_theta",
    .norm_eps = "rms_norm_eps",
};

/// What a transformers class assumes for a key that is absent. 0 in n_kv_heads: as many as heads.
struct ModelClass {
  std::string_view model_type;
  int n_kv_heads, max_context, sliding_window;
  float rope_theta, norm_eps;
};
constexpr std::array<ModelClass, 3> kClasses = {{
    {"mixtral", 8, 131072, 0, 1e6f, 1e-5f},
    {"mistral", 8, 131072, 4096, 1e4f, 1e-6f},
    {"llama", 0, 2048, 0, 1e4f, 1e-6f},
}};

const ModelClass& FindClass(const Json& config) {
  const std::string type = config.At("model_type").AsString();
  for (const ModelClass& row : kClasses)
    if (row.model_type == type) return row;
  Throw(ErrorCode::kUnsupported, "$.model_type: expected mixtral, mistral or llama, found {}",
        Printable(type));
}

void RefuseUnsupported(const Json& config) {
  const std::optional<Json> act = config.Find("hidden_act");
  if (act && act->AsString() != "silu")
    Throw(ErrorCode::kUnsupported, "$.hidden_act: expected silu, found {}",
          Printable(act->AsString()));
  // quantization_config is io's business: it converts the weights or refuses the method.
  for (const char* key : {"attention_bias", "mlp_bias"}) RefuseFeature(config, key);
}

/// rope_scaling, or the newer rope_parameters, whose type must be "default".
void CheckRopeType(const Json& rope) {
  std::optional<Json> type = rope.Find("rope_type");
  if (!type) type = rope.Find("type");
  if (!type && rope.Size() == 0) return;
  const std::string found = type ? Printable(type->AsString()) : "no type";
  if (found != "default")
    Throw(ErrorCode::kUnsupported, "{}: expected null, found {}, which is not supported",
          rope.path(), found);
}

float ReadRopeTheta(const Json& config, float absent) {
  if (const std::optional<Json> scaling = config.Find("rope_scaling")) CheckRopeType(*scaling);
  if (const std::optional<Json> rope = config.Find("rope_parameters")) {
    if (rope->Find("rope_type") || rope->Find("type")) CheckRopeType(*rope);
    absent = ReadFloat(*rope, "rope_theta", absent);
  }
  return ReadFloat(config, "rope_theta", absent);
}

int ReadKvHeads(const Json& config, const ModelClass& model, int n_heads) {
  // A null means "as many as heads" to every class; only an absent key means the class default.
  const bool absent = !HasKey(config, kNames.n_kv_heads);
  return ReadInt(config, kNames.n_kv_heads,
                 absent && model.n_kv_heads != 0 ? model.n_kv_heads : n_heads);
}

void ReadWindow(const Json& config, const ModelClass& model, ParsedConfig* parsed) {
  const int absent = HasKey(config, kNames.sliding_window) ? 0 : model.sliding_window;
  const int window = ReadInt(config, kNames.sliding_window, absent);
  if (model.model_type == "mistral") {
    parsed->config.sliding_window = window;
  } else if (window != 0) {
    parsed->notices.push_back(fmt::format("sliding_window {} ignored: {} has none", window,
                                          model.model_type == "mixtral" ? "Mixtral" : "Llama"));
  }
}

}  // namespace

ParsedConfig ConfigFromHuggingFace(const Json& config) {
  const ModelClass& model = FindClass(config);
  RefuseUnsupported(config);
  ParsedConfig parsed;
  ModelConfig& c = parsed.config;
  c.n_layers = ReadInt(config, kNames.n_layers);
  c.dim = ReadInt(config, kNames.dim);
  c.ffn_dim = ReadInt(config, kNames.ffn_dim);
  c.n_heads = ReadInt(config, kNames.n_heads);
  c.n_kv_heads = ReadKvHeads(config, model, c.n_heads);
  c.head_dim =
      config.Find(kNames.head_dim) ? ReadInt(config, kNames.head_dim) : DerivedHeadDim(c, kNames);
  c.vocab_size = ReadInt(config, kNames.vocab_size);
  if (model.model_type == "mixtral") {
    c.n_experts = ReadInt(config, kNames.n_experts);
    c.experts_per_token = ReadInt(config, kNames.experts_per_token);
    if (c.n_experts < 1)
      Throw(ErrorCode::kCorrupt, "{}: expected at least 1, found {}", kNames.n_experts,
            c.n_experts);
  }
  c.max_context = ReadInt(config, kNames.max_context, model.max_context);
  ReadWindow(config, model, &parsed);
  c.rope_theta = ReadRopeTheta(config, model.rope_theta);
  c.norm_eps = ReadFloat(config, kNames.norm_eps, model.norm_eps);
  if (const std::optional<Json> tied = config.Find("tie_word_embeddings"))
    c.tied_embeddings = tied->AsBool();
  CheckConfig(c, kNames, Vocabulary::kRequired);
  return parsed;
}

}  // namespace mixtral
