// SPDX-License-Identifier: Apache-2.0
// Parameters and the layers' arithmetic. Matrix products run in the compute type on copies of the
// f32 master weights; the residual stream, norms, softmax and router are f32 (router in HF's order:
// softmax over the chosen logits, which equals renormalised softmax over all).
#include "train/model.h"

#include <cmath>

#include "base/rng.h"
#include "train/layer_call.h"
#include "train/target_log_probs.h"
#include "train/weight_decode.h"

namespace mixtral::train {
namespace {

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps) {
  return x * torch::rsqrt(x.square().mean(-1, true) + eps) * weight;
}

/// x [N, cols] times weight [rows, cols] transposed, in the compute type; f32 out.
Tensor Linear(const Tensor& x, const Tensor& weight, torch::ScalarType compute) {
  return x.to(compute).mm(weight.to(compute).t()).to(torch::kFloat32);
}

/// FNV-1a, so that a tensor's random numbers depend on its name alone.
uint64_t HashName(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

/// [N, D] in [1 - jitter, 1 + jitter): element i of row r is number r * D + i of the layer's
/// stream, whatever the split of rows over batches and ranks.
Tensor JitterFactors(int64_t n, int64_t dim, int64_t first_row, double jitter, uint64_t seed,
                     uint64_t layer) {
  const CounterRng rng(seed, layer);
  Tensor factors = torch::empty({n, dim});
  float* out = factors.data_ptr<float>();
  const auto first = static_cast<uint64_t>(first_row * dim);
  for (int64_t i = 0; i < n * dim; ++i)
    out[i] =
        static_cast<float>(1 + jitter * (2 * rng.Uniform(first + static_cast<uint64_t>(i)) - 1));
  return factors;
}

struct Routing {
  Tensor logits, ids, weights;
};

Routing Route(const Tensor& logits, const Tensor& bias, const Tensor& forced, int64_t k) {
  Routing routing;
  routing.logits = logits;
  if (forced.defined()) {
    routing.ids = forced;
  } else {
    const Tensor scores = logits.detach();
    const Tensor chosen =
        std::get<1>((bias.defined() ? scores + bias : scores).topk(k, 1, true, true));
    routing.ids = std::get<0>(chosen.sort(1));
  }
  routing.weights = logits.gather(1, routing.ids).softmax(1);
  return routing;
}

}  // namespace

Tensor Parameter::Value() const {
  Tensor value = quantised.bytes.empty() ? base : DecodeWeight(*this);
  if (lora_a.defined()) value = value + lora_b.mm(lora_a) * lora_scale;
  return value;
}

Model::Model(const ModelConfig& config) : config_(config) {
  config.Validate();
  n_local_experts_ = config.n_experts;
  embedding_ = Declare(TensorRole::kEmbedding, 0, -1, {config.vocab_size, config.dim});
  for (int layer = 0; layer < config.n_layers; ++layer) DeclareLayer(layer);
  final_norm_ = Declare(TensorRole::kFinalNorm, 0, -1, {config.dim});
  output_ = config.tied_embeddings
                ? embedding_
                : Declare(TensorRole::kOutput, 0, -1, {config.vocab_size, config.dim});
}

size_t Model::Declare(TensorRole role, int layer, int expert, std::vector<int64_t> shape) {
  Parameter parameter;
  parameter.name = TensorName(NamingScheme::kHuggingFace, role, layer, expert);
  parameter.role = role;
  parameter.layer = layer;
  parameter.expert = expert;
  parameter.shape = std::move(shape);
  parameters_.push_back(std::move(parameter));
  return parameters_.size() - 1;
}

void Model::DeclareLayer(int layer) {
  const int64_t dim = config_.dim, ffn = config_.ffn_dim;
  const int64_t q_rows = int64_t{config_.n_heads} * config_.head_dim;
  const int64_t kv_rows = int64_t{config_.n_kv_heads} * config_.head_dim;
  LayerIndex index = {};
  index.attn_norm = Declare(TensorRole::kAttnNorm, layer, -1, {dim});
  index.q = Declare(TensorRole::kQ, layer, -1, {q_rows, dim});
  index.k = Declare(TensorRole::kK, layer, -1, {kv_rows, dim});
  index.v = Declare(TensorRole::kV, layer, -1, {kv_rows, dim});
  index.o = Declare(TensorRole::kO, layer, -1, {dim, q_rows});
  index.ffn_norm = Declare(TensorRole::kFfnNorm, layer, -1, {dim});
  const bool dense = config_.n_experts == 0;
  if (!dense) index.router = Declare(TensorRole::kRouter, layer, -1, {config_.n_experts, dim});
  for (int e = dense ? -1 : 0; e < config_.n_experts; ++e) {
    index.gate.push_back(Declare(TensorRole::kExpertGate, layer, e, {ffn, dim}));
    index.down.push_back(Declare(TensorRole::kExpertDown, layer, e, {dim, ffn}));
    index.up.push_back(Declare(TensorRole::kExpertUp, layer, e, {ffn, dim}));
    if (dense) break;
  }
  layers_.push_back(std::move(index));
}

Parameter& Model::Find(TensorRole role, int layer, int expert) {
  for (Parameter& parameter : parameters_) {
    if (parameter.role == role && parameter.layer == layer && parameter.expert == expert)
      return parameter;
  }
  Throw(ErrorCode::kInternal, "no such parameter");
}

void Model::Initialise(uint64_t seed) {
  for (Parameter& parameter : parameters_) {
    if (parameter.IsExpert() &&
        (parameter.expert < first_expert_ || parameter.expert >= first_expert_ + n_local_experts_))
      continue;
    parameter.base = torch::empty(parameter.shape);
    if (parameter.shape.size() == 1) {
      parameter.base.fill_(1);
    } else {
      const bool into_stream =
          parameter.role == TensorRole::kO || parameter.role == TensorRole::kExpertDown;
      const float deviation =
          into_stream ? 0.02F / std::sqrt(2.0F * static_cast<float>(config_.n_layers)) : 0.02F;
      const CounterRng rng(seed, HashName(parameter.name));
      float* out = parameter.base.data_ptr<float>();
      for (int64_t i = 0; i < parameter.base.numel(); ++i)
        out[i] = deviation * rng.Normal(static_cast<uint64_t>(i));
    }
    parameter.base.set_requires_grad(true);
  }
}

void Model::SetLocalExperts(int first, int n) {
  first_expert_ = first;
  n_local_experts_ = n;
}

Tensor Model::Attention(const LayerIndex& layer, const Tensor& x, const Batch& batch,
                        const RopeTables& rope, torch::ScalarType compute) const {
  const auto heads = [&](size_t matrix, int n_heads) {
    return Linear(x, parameters_[matrix].Value(), compute)
        .view({x.size(0), n_heads, config_.head_dim});
  };
  const Tensor q = ApplyRope(heads(layer.q, config_.n_heads), rope);
  const Tensor k = ApplyRope(heads(layer.k, config_.n_kv_heads), rope);
  const Tensor v = heads(layer.v, config_.n_kv_heads);
  const Tensor mixed = CausalAttention(q, k, v, batch.segments);
  return Linear(mixed.flatten(1), parameters_[layer.o].Value(), compute);
}

Tensor Model::Experts(const LayerIndex& layer, const Tensor& x, const Tensor& ids,
                      const Tensor& weights, const ForwardOptions& options) const {
  ExpertTensors local;
  const int first = config_.n_experts == 0 ? 0 : first_expert_;
  const int n = config_.n_experts == 0 ? 1 : n_local_experts_;
  for (int e = first; e < first + n; ++e) {
    const auto i = static_cast<size_t>(e);
    local.gate.push_back(parameters_[layer.gate[i]].Value());
    local.up.push_back(parameters_[layer.up[i]].Value());
    local.down.push_back(parameters_[layer.down[i]].Value());
  }
  if (config_.n_experts == 0) return GroupedExperts(x, {x.size(0)}, local, options.compute);
  if (options.mixture == MixtureKind::kLoop) return NaiveExperts(x, ids, weights, local);
  if (options.exchange == nullptr) return DroplessExperts(x, ids, weights, local, options.compute);
  const Dispatch dispatch = GroupByExpert(ids, config_.n_experts);
  const Tensor rows = GatherRows(x, dispatch);
  const Tensor out = options.exchange->Apply(rows, dispatch.counts, local, options.compute);
  return CombineRows(out, weights, dispatch);
}

std::vector<Tensor> Model::RunLayer(size_t layer, const Tensor& hidden, const Batch& batch,
                                    const RopeTables& rope, const ForwardOptions& options) const {
  const LayerIndex& index = layers_[layer];
  const Tensor normed = RmsNorm(hidden, parameters_[index.attn_norm].Value(), config_.norm_eps);
  const Tensor middle = hidden + Attention(index, normed, batch, rope, options.compute);
  const Tensor x = RmsNorm(middle, parameters_[index.ffn_norm].Value(), config_.norm_eps);
  if (config_.n_experts == 0)
    return {middle + Experts(index, x, {}, {}, options),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor()};
  Tensor router_in = x;
  if (options.jitter > 0)
    router_in = x * JitterFactors(x.size(0), x.size(1), batch.first_row, options.jitter,
                                  options.seed, layer);
  const Tensor logits = router_in.mm(parameters_[index.router].Value().t());
  const Routing routing = Route(
      logits, options.router_bias.empty() ? Tensor() : options.router_bias[layer],
      options.forced_ids.empty() ? Tensor() : options.forced_ids[layer], config_.experts_per_token);
  const Tensor out = middle + Experts(index, x, routing.ids, routing.weights, options);

  const Tensor log_probs = logits.log_softmax(1);
  const Tensor probs = log_probs.exp();
  const Tensor z = logits.logsumexp(1).square();
  const Tensor valid = batch.valid.defined() ? batch.valid.to(torch::kFloat32)
                                             : torch::ones({x.size(0)}, torch::kFloat32);
  // Of no rows, bincount makes integers.
  const Tensor counts =
      torch::bincount(routing.ids.reshape({-1}),
                      valid.to(torch::kFloat64).repeat_interleave(routing.ids.size(1)),
                      config_.n_experts)
          .to(torch::kFloat64);
  const Tensor entropy = -((probs * log_probs).sum(1) * valid).detach().sum(torch::kFloat64);
  return {out,
          valid.unsqueeze(0).mm(probs).squeeze(0),
          (z * valid).sum(),
          counts,
          entropy,
          routing.ids,
          probs};
}

std::vector<Tensor> Model::Leaves(size_t layer) const {
  const LayerIndex& index = layers_[layer];
  std::vector<size_t> all = {index.attn_norm, index.q, index.k, index.v, index.o, index.ffn_norm};
  if (config_.n_experts > 0) all.push_back(index.router);
  for (const auto* list : {&index.gate, &index.up, &index.down})
    all.insert(all.end(), list->begin(), list->end());
  std::vector<Tensor> leaves;
  for (const size_t i : all) {
    for (const Tensor& leaf : {parameters_[i].base, parameters_[i].lora_a, parameters_[i].lora_b}) {
      if (leaf.defined() && leaf.requires_grad()) leaves.push_back(leaf);
    }
  }
  return leaves;
}

ForwardResult Model::Forward(const Batch& batch, const ForwardOptions& options) const {
  ForwardResult result;
  result.n_valid = batch.valid.defined() ? batch.valid.sum().item<double>()
                                         : static_cast<double>(batch.tokens.size(0));
  const RopeTables rope = MakeRopeTables(batch.segments, config_.head_dim, config_.rope_theta);
  Tensor hidden = torch::embedding(parameters_[embedding_].Value(), batch.tokens);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const LayerFunction run = [this, layer, batch, rope, options](const Tensor& x) {
      return RunLayer(layer, x, batch, rope, options);
    };
    std::vector<Tensor> out = options.checkpoint_activations && torch::GradMode::is_enabled()
                                  ? RunCheckpointed(run, hidden, Leaves(layer))
                                  : run(hidden);
    hidden = out[0];
    if (config_.n_experts == 0) continue;
    RouterStats stats = {out[3], out[1], out[2], out[4], out[5], {}};
    if (options.keep_router_probs) stats.probs = out[6];
    result.routers.push_back(std::move(stats));
  }
  result.hidden = RmsNorm(hidden, parameters_[final_norm_].Value(), config_.norm_eps);
  return result;
}

Tensor Model::TargetLogProbs(const Tensor& hidden, const Tensor& targets,
                             torch::ScalarType compute) const {
  return PiecewiseLogProbs(hidden, parameters_[output_].Value(), targets, compute);
}

Tensor Model::Logits(const Tensor& hidden) const {
  return hidden.mm(parameters_[output_].Value().t());
}

}  // namespace mixtral::train
