// SPDX-License-Identifier: Apache-2.0
// Small documents, written by hand.
#include "server/info_api.h"

#include <cmath>

#include "server/json_writer.h"
#include "server/routing_figures.h"

namespace mixtral::server {
namespace {

void WriteModel(const ServedModel& model, const std::string& name, JsonWriter& json) {
  const ModelConfig& config = model.engine.config();
  json.BeginObject().Key("id").String(name).Key("object").String("model");
  json.Key("created").Int(model.created).Key("owned_by").String("mixtral.cpp");
  json.Key("max_model_len").Int(model.context());
  json.Key("meta").BeginObject();
  json.Key("n_vocab").Int(config.vocab_size).Key("n_ctx").Int(model.context());
  json.Key("n_ctx_train").Int(config.max_context).Key("n_embd").Int(config.dim);
  json.Key("n_layer").Int(config.n_layers).Key("n_expert").Int(config.n_experts);
  json.Key("n_expert_used").Int(config.experts_per_token);
  json.Key("n_params").Int(config.TotalParameters());
  json.Key("n_params_active").Int(config.ActiveParameters());
  json.Key("size").Int(static_cast<int64_t>(model.engine.checkpoint().FileBytes()));
  json.EndObject().EndObject();
}

void WriteLayer(const LayerRouting& figures, size_t layer, JsonWriter& json) {
  json.BeginObject().Key("layer").Int(static_cast<int64_t>(layer));
  json.Key("tokens").BeginArray();
  for (const int64_t tokens : figures.tokens) json.Int(tokens);
  json.EndArray().Key("entropy_bits").Real(figures.entropy_bits);
  json.Key("max_share").Real(figures.max_share);
  json.Key("first_choice_repetition").Real(figures.first_choice_repetition);
  json.Key("either_choice_repetition").Real(figures.either_choice_repetition);
  json.EndObject();
}

}  // namespace

std::string ModelList(const ServedModel& model) {
  std::string text;
  JsonWriter json(&text);
  json.BeginObject().Key("object").String("list").Key("data").BeginArray();
  for (const std::string& name : model.names) WriteModel(model, name, json);
  json.EndArray().EndObject();
  return text;
}

std::string ModelEntry(const ServedModel& model, const std::string& name) {
  model.CheckName(name);
  std::string text;
  JsonWriter json(&text);
  WriteModel(model, name, json);
  return text;
}

std::string Props(const ServedModel& model, const std::string& version) {
  const ServiceOptions& options = model.service.options();
  std::string text;
  JsonWriter json(&text);
  json.BeginObject().Key("build_info").String("mixtral.cpp " + version);
  json.Key("model_alias").String(model.name());
  json.Key("model_path").String(model.engine.checkpoint().path());
  json.Key("total_slots").Int(options.max_running).Key("n_ctx").Int(model.context());
  json.Key("max_queued").Int(options.max_queued).Key("queue_seconds").Real(options.queue_seconds);
  json.Key("step_tokens").Int(options.step_tokens);
  json.Key("cache_positions").Int(options.cache_positions);
  json.Key("cache_bytes").Int(static_cast<int64_t>(model.service.CacheBytes()));
  json.Key("chat_format");
  if (model.chat)
    json.String(ChatFormatName(model.chat->format()));
  else
    json.Null();
  json.Key("chat_template").String(model.engine.checkpoint().chat_template().value_or(""));
  json.Key("bos_token").String(model.tokenizer().Piece(model.tokenizer().bos_id()));
  json.Key("eos_token").String(model.tokenizer().Piece(model.tokenizer().eos_id()));
  json.Key("default_generation_settings").BeginObject();
  json.Key("n_ctx").Int(model.context()).Key("temperature").Real(1).Key("top_p").Real(1);
  json.EndObject().EndObject();
  return text;
}

std::string Load(const ServiceStats& stats) {
  std::string text;
  JsonWriter json(&text);
  json.BeginObject().Key("running").Int(stats.running).Key("waiting").Int(stats.waiting);
  json.Key("cache_positions").Int(stats.cache_positions).Key("cache_used").Int(stats.cache_used);
  json.Key("server_load").Int(stats.running + stats.waiting).EndObject();
  return text;
}

std::string RoutingStats(const ServedModel& model, const ServiceStats& stats) {
  const ModelConfig& config = model.engine.config();
  if (config.n_experts == 0)
    throw HttpError(400, "expected a model with experts, found a dense one", "", "unsupported");
  const auto n_experts = static_cast<size_t>(config.n_experts);
  std::string text;
  JsonWriter json(&text);
  json.BeginObject().Key("object").String("routing.stats");
  json.Key("model").String(model.name()).Key("n_layers").Int(config.n_layers);
  json.Key("n_experts").Int(config.n_experts);
  json.Key("experts_per_token").Int(config.experts_per_token);
  json.Key("uniform_entropy_bits").Real(std::log2(config.n_experts));
  json.Key("routed_pairs").Int(stats.routed_pairs).Key("layers").BeginArray();
  for (size_t layer = 0; layer < RoutedLayers(stats, config.n_experts); ++layer)
    WriteLayer(RoutingOf(stats, layer, n_experts), layer, json);
  json.EndArray().EndObject();
  return text;
}

}  // namespace mixtral::server
