// SPDX-License-Identifier: Apache-2.0
// The table of settings and its two readers. A setting that the table does not know is refused with
// the nearest name.
#include "train/train_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <variant>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"

namespace mixtral::train {
namespace {

using Target = std::variant<int64_t*, double*, bool*, std::string*, std::vector<std::string>*,
                            std::map<std::string, double>*>;

struct Field {
  std::string_view name;
  Target target;
  double min = 0, max = 0;                // of numbers
  std::vector<std::string_view> choices;  // of texts; empty: any
  std::string_view help;
};

std::vector<Field> DataFields(TrainConfig* c) {
  return {
      {"out", &c->out, 0, 0, {}, "folder of the run: checkpoints, metrics, export"},
      {"data", &c->data, 0, 0, {}, "shard folders made by 'mixtral data', comma-separated"},
      {"verify_data", &c->verify_data, 0, 0, {}, "read all shards once and check their sha256"},
      {"weights", &c->weights, 0, 0, {}, "share of each domain: en=2,de=1 (default: by size)"},
      {"from", &c->from, 0, 0, {}, "checkpoint to start from: GGUF, Hugging Face or Mistral"},
      {"upcycle", &c->upcycle, 0, 0, {}, "dense checkpoint whose copies become the experts"},
      {"upcycle_noise", &c->upcycle_noise, 0, 10, {}, "noise on the copies, in deviations"},
      {"sequence_length", &c->sequence_length, 2, 1 << 20, {}, "tokens of a window"},
      {"cross_documents", &c->cross_documents, 0, 0, {}, "attention and loss cross documents"},
      {"batch",
       &c->batch,
       1,
       1 << 20,
       {},
       "windows (pairs in dpo) of a step, on all ranks together"},
      {"micro_batch", &c->micro_batch, 1, 1 << 20, {}, "windows of a forward pass"},
      {"steps", &c->steps, 1, 1e12, {}, "optimizer steps"},
      {"seed", &c->seed, 0, 1e15, {}, "of weights, order of data and jitter"},
  };
}

std::vector<Field> ModelFields(TrainConfig* c) {
  return {
      {"dim", &c->dim, 1, 1 << 20, {}, "model dimension (models from scratch, and so on)"},
      {"layers", &c->layers, 1, 1000, {}, "number of layers"},
      {"heads", &c->heads, 1, 1024, {}, "query heads"},
      {"kv_heads", &c->kv_heads, 1, 1024, {}, "key and value heads"},
      {"head_dim", &c->head_dim, 2, 1024, {}, "dimension of a head"},
      {"ffn_dim", &c->ffn_dim, 1, 1 << 20, {}, "hidden dimension of an expert"},
      {"experts", &c->experts, 0, 1024, {}, "experts of a layer; 0: dense"},
      {"experts_per_token", &c->experts_per_token, 1, 64, {}, "experts that a token uses"},
      {"max_context", &c->max_context, 1, 1 << 24, {}, "positions that the config promises"},
      {"rope_theta", &c->rope_theta, 1, 1e12, {}, "base of the rotation"},
      {"norm_eps", &c->norm_eps, 1e-12, 1, {}, "epsilon inside the norms"},
      {"tied_embeddings", &c->tied_embeddings, 0, 0, {}, "the output matrix is the embedding"},
  };
}

std::vector<Field> OptimizerFields(TrainConfig* c) {
  return {
      {"lr", &c->lr, 0, 10, {}, "peak learning rate"},
      {"lr_floor", &c->lr_floor, 0, 10, {}, "learning rate at the end"},
      {"schedule", &c->schedule, 0, 0, {"cosine", "wsd", "constant"}, "after the warm-up"},
      {"warmup", &c->warmup, 0, 1e12, {}, "steps from 0 to the peak"},
      {"decay_fraction", &c->decay_fraction, 0, 1, {}, "wsd: last part of the steps that decays"},
      {"beta1", &c->beta1, 0, 0.999999, {}, "AdamW"},
      {"beta2", &c->beta2, 0, 0.999999, {}, "AdamW"},
      {"eps", &c->eps, 1e-20, 1, {}, "AdamW"},
      {"weight_decay", &c->weight_decay, 0, 10, {}, "on matrices, not on norms and embeddings"},
      {"clip", &c->clip, 0, 1e9, {}, "limit of the gradient's norm; 0: none"},
      {"balance", &c->balance, 0, 0, {"per_layer", "pooled", "none"}, "balance loss of the router"},
      {"balance_coef", &c->balance_coef, 0, 100, {}, "its coefficient"},
      {"z_coef", &c->z_coef, 0, 100, {}, "coefficient of the router's z-loss"},
      {"jitter", &c->jitter, 0, 0.9, {}, "router input times uniform(1 - j, 1 + j)"},
      {"bias_rate",
       &c->bias_rate,
       0,
       1,
       {},
       "balance by a bias on the choice, moved by this a step"},
      {"bias_until", &c->bias_until, 0, 1, {}, "part of the run after which that bias is removed"},
      {"router",
       &c->router,
       0,
       0,
       {"trained", "frozen", "reference"},
       "reference (dpo): the reference model's choices"},
  };
}

std::vector<Field> RunFields(TrainConfig* c) {
  return {
      {"precision", &c->precision, 0, 0, {"f32", "bf16"}, "of matrix products; masters are f32"},
      {"mixture", &c->mixture, 0, 0, {"dropless", "loop"}, "loop: for measurements alone"},
      {"checkpoint_activations",
       &c->checkpoint_activations,
       0,
       0,
       {},
       "recompute layers backwards"},
      {"threads", &c->threads, 0, 1024, {}, "of this process; 0: LibTorch's choice"},
      {"save_every", &c->save_every, 1, 1e12, {}, "steps between checkpoints"},
      {"keep", &c->keep, 1, 1e6, {}, "checkpoints to keep"},
      {"eval_every", &c->eval_every, 0, 1e12, {}, "steps between evaluations; 0: none"},
      {"eval_windows", &c->eval_windows, 1, 1e6, {}, "held-out windows per domain"},
      {"log_every", &c->log_every, 1, 1e6, {}, "steps between lines on the terminal"},
      {"export_type", &c->export_type, 0, 0, {"f32", "bf16", "f16"}, "of the exported folder"},
      {"lora_rank",
       &c->lora_rank,
       0,
       4096,
       {},
       "adapters of this rank; 0: all weights are trained"},
      {"lora_alpha", &c->lora_alpha, 0, 1e6, {}, "adapters are scaled by alpha / rank"},
      {"lora_targets", &c->lora_targets, 0, 0, {}, "q,k,v,o, experts, or expert:LAYER:INDEX"},
      {"qlora", &c->qlora, 0, 0, {}, "the base stays in its file's quantised type"},
      {"dpo_beta", &c->dpo_beta, 1e-6, 100, {}, "dpo: strength of the reference"},
      {"router_kl",
       &c->router_kl,
       0,
       1000,
       {},
       "dpo: coefficient of KL(reference router || router)"},
      {"expert_parallel", &c->expert_parallel, 1, 4096, {}, "ranks that share a layer's experts"},
      {"timeout", &c->timeout, 1, 1e6, {}, "seconds that a rank waits for the others"},
  };
}

std::vector<Field> Fields(TrainConfig* config) {
  std::vector<Field> all;
  for (const auto& part :
       {DataFields(config), ModelFields(config), OptimizerFields(config), RunFields(config)})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

template <class... Args>
[[noreturn]] void Refuse(fmt::format_string<Args...> format, Args&&... args) {
  Throw(ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

double ParseReal(const Field& field, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) ||
      value < field.min || value > field.max)
    Refuse("{}: expected a number from {} to {}, found '{}'", field.name, field.min, field.max,
           Printable(text));
  return value;
}

int64_t ParseInteger(const Field& field, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto real = static_cast<double>(value);
  if (error != std::errc() || end != text.data() + text.size() || real < field.min ||
      real > field.max)
    Refuse("{}: expected a whole number from {:.0f} to {:.0f}, found '{}'", field.name, field.min,
           field.max, Printable(text));
  return value;
}

std::vector<std::string> ParseList(const std::string& text) {
  std::vector<std::string> list;
  for (const std::string_view part : Split(text, ',')) {
    if (!part.empty()) list.emplace_back(part);
  }
  return list;
}

std::map<std::string, double> ParseWeights(const Field& field, const std::string& text) {
  std::map<std::string, double> weights;
  for (const std::string& item : ParseList(text)) {
    const size_t equals = item.find('=');
    if (equals == std::string::npos)
      Refuse("{}: expected DOMAIN=NUMBER, found '{}'", field.name, Printable(item));
    const Field number = {field.name, field.target, 0, 1e9, {}, {}};
    weights[item.substr(0, equals)] = ParseReal(number, item.substr(equals + 1));
  }
  return weights;
}

std::string ParseChoice(const Field& field, const std::string& text) {
  if (!field.choices.empty() &&
      std::find(field.choices.begin(), field.choices.end(), text) == field.choices.end())
    Refuse("{}: expected {}, found '{}'", field.name, fmt::join(field.choices, ", "),
           Printable(text));
  return text;
}

bool ParseBool(const Field& field, const std::string& text) {
  if (text == "true" || text == "yes" || text == "1") return true;
  if (text == "false" || text == "no" || text == "0") return false;
  Refuse("{}: expected true or false, found '{}'", field.name, Printable(text));
}

struct Assign {
  const Field& field;
  const std::string& text;
  void operator()(int64_t* value) const { *value = ParseInteger(field, text); }
  void operator()(double* value) const { *value = ParseReal(field, text); }
  void operator()(bool* value) const { *value = ParseBool(field, text); }
  void operator()(std::string* value) const { *value = ParseChoice(field, text); }
  void operator()(std::vector<std::string>* value) const { *value = ParseList(text); }
  void operator()(std::map<std::string, double>* value) const {
    *value = ParseWeights(field, text);
  }
};

void SetField(const std::vector<Field>& fields, const std::string& name, const std::string& text) {
  std::vector<std::string_view> names;
  for (const Field& field : fields) {
    if (field.name == name) return std::visit(Assign{field, text}, field.target);
    names.push_back(field.name);
  }
  const std::string_view near = NearestName(name, names);
  Refuse("unknown setting '{}'{}", Printable(name),
         near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

/// A YAML value in the spelling that flags have.
std::string Spell(const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar();
  std::string text;
  for (const auto& item : node) {
    const bool pair = node.IsMap();
    const YAML::Node value = pair ? item.second : item;
    if (!value.IsScalar()) Refuse("expected a plain value, found a nested one");
    if (!text.empty()) text += ',';
    text += pair ? item.first.Scalar() + "=" + value.Scalar() : value.Scalar();
  }
  return text;
}

void ReadYaml(const std::string& path, const std::vector<Field>& fields) {
  YAML::Node root;
  try {
    root = YAML::Load(ReadTextFile(path));
  } catch (const YAML::Exception& error) {
    Throw(ErrorCode::kCorrupt, "YAML: {}, in {}:{}", error.msg, path, error.mark.line + 1);
  }
  if (!root.IsMap())
    Throw(ErrorCode::kCorrupt, "YAML: expected 'name: value' lines, found something else, in {}",
          path);
  for (const auto& item : root) {
    const std::string where = fmt::format("{}:{}", path, item.first.Mark().line + 1);
    try {
      SetField(fields, item.first.Scalar(), Spell(item.second));
    } catch (const Error& error) {
      Throw(ErrorCode::kCorrupt, "{}, in {}", error.what(), where);
    }
  }
}

void CheckTogether(const TrainConfig& c) {
  if (c.out.empty()) Refuse("out: expected the run's folder, found nothing");
  if (c.data.empty()) Refuse("data: expected at least one shard folder, found nothing");
  if (!c.from.empty() && !c.upcycle.empty())
    Refuse("from, upcycle: expected one of them, found both");
  if (c.from.empty() && c.task == TaskKind::kDpo)
    Refuse("from: expected the checkpoint that dpo starts from, found nothing");
  if (c.router == "reference" && c.task != TaskKind::kDpo)
    Refuse("router: expected trained or frozen outside dpo, found 'reference'");
  if (c.mixture == "loop" && (c.precision != "f32" || c.expert_parallel > 1))
    Refuse("mixture: expected dropless with bf16 or expert_parallel, found 'loop'");
  if (c.qlora && c.lora_rank == 0) Refuse("lora_rank: expected at least 1 with qlora, found 0");
  if (c.lora_rank > 0 && c.from.empty())
    Refuse("from: expected the checkpoint that adapters are trained on, found nothing");
  if (c.upcycle.empty() == false && c.experts == 0)
    Refuse("experts: expected at least 1 with upcycle, found 0");
}

struct Print {
  std::string operator()(const int64_t* value) const { return std::to_string(*value); }
  std::string operator()(const double* value) const { return fmt::format("{}", *value); }
  std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
  std::string operator()(const std::string* value) const { return *value; }
  std::string operator()(const std::vector<std::string>* value) const { return Join(*value, ","); }
  std::string operator()(const std::map<std::string, double>* value) const {
    std::vector<std::string> items;
    for (const auto& [domain, weight] : *value)
      items.push_back(fmt::format("{}={}", domain, weight));
    return Join(items, ",");
  }
};

}  // namespace

ModelConfig TrainConfig::Shape(int vocab_size) const {
  ModelConfig shape;
  shape.n_layers = static_cast<int>(layers);
  shape.dim = static_cast<int>(dim);
  shape.ffn_dim = static_cast<int>(ffn_dim);
  shape.n_heads = static_cast<int>(heads);
  shape.n_kv_heads = static_cast<int>(kv_heads);
  shape.head_dim = static_cast<int>(head_dim);
  shape.vocab_size = vocab_size;
  shape.n_experts = static_cast<int>(experts);
  shape.experts_per_token = experts == 0 ? 0 : static_cast<int>(experts_per_token);
  shape.max_context = static_cast<int>(max_context);
  shape.rope_theta = static_cast<float>(rope_theta);
  shape.norm_eps = static_cast<float>(norm_eps);
  shape.tied_embeddings = tied_embeddings;
  return shape;
}

TrainConfig ReadTrainConfig(TaskKind task, std::span<const std::string> arguments) {
  TrainConfig config;
  config.task = task;
  const std::vector<Field> fields = Fields(&config);
  for (const std::string& word : arguments.first(arguments.empty() ? 0 : 1)) {
    if (!word.starts_with("--")) ReadYaml(word, fields);
  }
  for (size_t i = !arguments.empty() && !arguments[0].starts_with("--") ? 1 : 0;
       i < arguments.size(); i += 2) {
    if (!arguments[i].starts_with("--"))
      Refuse("expected --NAME VALUE, found '{}'", Printable(arguments[i]));
    std::string name = arguments[i].substr(2);
    std::replace(name.begin(), name.end(), '-', '_');
    if (i + 1 == arguments.size()) Refuse("--{}: expected a value, found nothing", Printable(name));
    SetField(fields, name, arguments[i + 1]);
  }
  CheckTogether(config);
  return config;
}

std::string ConfigText(const TrainConfig& config) {
  TrainConfig copy = config;
  std::string text;
  for (const Field& field : Fields(&copy)) {
    const std::string value = std::visit(Print{}, field.target);
    if (!value.empty()) text += fmt::format("{}: {}\n", field.name, value);
  }
  return text;
}

std::string ConfigHelp() {
  TrainConfig defaults;
  std::string text;
  for (const Field& field : Fields(&defaults))
    text +=
        fmt::format("  {:<24}{} [{}]\n", field.name, field.help, std::visit(Print{}, field.target));
  return text;
}

}  // namespace mixtral::train
