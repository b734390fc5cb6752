// SPDX-License-Identifier: Apache-2.0
// Read from Forward downwards, with section 2 of the paper beside it.
#include "reference/reference_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "spec/fixups.h"
#include "support/tensor_rows.h"

namespace mixtral::testing {

namespace {

using Vec = std::vector<float>;

float Dot(const float* a, const float* b, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// weight [rows, x.size()] times x
Vec MatVec(const Vec& weight, const Vec& x) {
  Vec y(weight.size() / x.size());
  for (size_t row = 0; row < y.size(); ++row)
    y[row] = Dot(&weight[row * x.size()], x.data(), x.size());
  return y;
}

void AddTo(Vec& y, const Vec& x, float scale = 1.0f) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += scale * x[i];
}

Vec RmsNorm(const Vec& x, const Vec& weight, float eps) {
  const float mean_square = Dot(x.data(), x.data(), x.size()) / static_cast<float>(x.size());
  const float scale = 1.0f / std::sqrt(mean_square + eps);
  Vec y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
  return y;
}

void Softmax(Vec& x) {
  const float maximum = *std::max_element(x.begin(), x.end());
  float sum = 0;
  for (float& value : x) sum += value = std::exp(value - maximum);
  for (float& value : x) value /= sum;
}

float Silu(float x) { return x / (1.0f + std::exp(-x)); }

NamingScheme SchemeOf(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kHuggingFace:
      return NamingScheme::kHuggingFace;
    case CheckpointKind::kMistral:
      return NamingScheme::kMistral;
    default:
      return NamingScheme::kGguf;
  }
}

void Append(Vec& all, const Vec& part) { all.insert(all.end(), part.begin(), part.end()); }

}  // namespace

ReferenceOutput ReferenceModel::Forward(std::span<const int32_t> tokens) const {
  ReferenceOutput out;
  const auto dim = static_cast<size_t>(config_.dim);
  std::vector<Vec> x;  // [T][D] the residual stream
  for (const int32_t token : tokens) {
    const auto row = embedding_.begin() + token * static_cast<std::ptrdiff_t>(dim);
    x.emplace_back(row, row + config_.dim);
  }
  for (const Vec& row : x) Append(out.hidden, row);

  for (const Layer& layer : layers_) {
    std::vector<Vec> keys, values;  // [T][G*P]
    for (size_t t = 0; t < x.size(); ++t) {
      const Vec input = RmsNorm(x[t], layer.attn_norm, config_.norm_eps);
      keys.push_back(MatVec(layer.k, input));
      Rotate(keys[t], t);
      values.push_back(MatVec(layer.v, input));
      Vec q = MatVec(layer.q, input);
      Rotate(q, t);
      AddTo(x[t], MatVec(layer.o, Attend(q, keys, values)));
    }

    for (Vec& row : x) {
      const Vec input = RmsNorm(row, layer.ffn_norm, config_.norm_eps);
      if (config_.n_experts == 0) {
        AddTo(row, FeedForward(layer.experts[0], input));
        continue;
      }
      const Vec router_logits = MatVec(layer.router, input);
      const Choice choice = ChooseExperts(router_logits);
      Vec sum(dim, 0.0f);
      for (size_t i = 0; i < choice.ids.size(); ++i) {
        const Expert& expert = layer.experts[static_cast<size_t>(choice.ids[i])];
        AddTo(sum, FeedForward(expert, input), choice.weights[i]);
      }
      AddTo(row, sum);
      Append(out.router_logits, router_logits);
      Append(out.expert_weights, choice.weights);
      out.expert_ids.insert(out.expert_ids.end(), choice.ids.begin(), choice.ids.end());
    }
    for (const Vec& row : x) Append(out.hidden, row);
  }

  for (const Vec& row : x) {
    const Vec last = RmsNorm(row, final_norm_, config_.norm_eps);
    Append(out.final_norm, last);
    Append(out.logits, MatVec(output_, last));
  }
  return out;
}

// One query row over the keys and values so far, its own the last: grouped queries, softmax over
// scaled dot products.
ReferenceModel::Vec ReferenceModel::Attend(const Vec& q, const std::vector<Vec>& keys,
                                           const std::vector<Vec>& values) const {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  const auto group = static_cast<size_t>(config_.n_heads / config_.n_kv_heads);
  const auto window = static_cast<size_t>(config_.sliding_window);  // 0 = none
  const size_t first = window > 0 && keys.size() > window ? keys.size() - window : 0;
  Vec out(q.size(), 0.0f);  // [H*P]
  for (size_t h = 0; h < static_cast<size_t>(config_.n_heads); ++h) {
    const size_t kv = h / group * head_dim;  // where this head's key and value start
    Vec weights;
    for (size_t s = first; s < keys.size(); ++s)
      weights.push_back(Dot(&q[h * head_dim], &keys[s][kv], head_dim) /
                        std::sqrt(static_cast<float>(head_dim)));
    Softmax(weights);
    for (size_t s = first; s < keys.size(); ++s)
      for (size_t i = 0; i < head_dim; ++i)
        out[h * head_dim + i] += weights[s - first] * values[s][kv + i];
  }
  return out;
}

// Rotates pair j of every head by position * theta^(-2j/P). Where the two halves of a pair lie
// depends on the checkpoint; the scores do not.
void ReferenceModel::Rotate(Vec& heads, size_t position) const {
  const auto head_dim = static_cast<size_t>(config_.head_dim);
  const bool half_split = HasHalfSplitRope(scheme_);
  for (size_t head = 0; head < heads.size(); head += head_dim) {
    for (size_t j = 0; j < head_dim / 2; ++j) {
      const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(head_dim);
      const double angle =
          static_cast<double>(position) * std::pow(double{config_.rope_theta}, exponent);
      float& a = heads[head + (half_split ? j : 2 * j)];
      float& b = heads[head + (half_split ? j + head_dim / 2 : 2 * j + 1)];
      const auto cosine = static_cast<float>(std::cos(angle));
      const auto sine = static_cast<float>(std::sin(angle));
      const float rotated = a * cosine - b * sine;
      b = a * sine + b * cosine;
      a = rotated;
    }
  }
}

// SwiGLU: down(silu(gate x) * up x)
ReferenceModel::Vec ReferenceModel::FeedForward(const Expert& expert, const Vec& x) const {
  Vec gate = MatVec(expert.gate, x);
  const Vec up = MatVec(expert.up, x);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = Silu(gate[i]) * up[i];
  return MatVec(expert.down, gate);
}

// The K largest logits, ties to the lower id, softmax over those K alone.
ReferenceModel::Choice ReferenceModel::ChooseExperts(const Vec& router_logits) const {
  Choice choice;
  choice.ids.resize(router_logits.size());
  std::iota(choice.ids.begin(), choice.ids.end(), 0);
  std::stable_sort(choice.ids.begin(), choice.ids.end(), [&](int a, int b) {
    return router_logits[static_cast<size_t>(a)] > router_logits[static_cast<size_t>(b)];
  });
  choice.ids.resize(static_cast<size_t>(config_.experts_per_token));
  for (const int id : choice.ids) choice.weights.push_back(router_logits[static_cast<size_t>(id)]);
  Softmax(choice.weights);
  return choice;
}

ReferenceModel::Vec ReferenceModel::Load(const Checkpoint& checkpoint, TensorRole role, int layer,
                                         int expert) const {
  if (const TensorView* view = checkpoint.Find(TensorName(scheme_, role, layer, expert)))
    return DecodeTensor(*view);
  if (expert >= 0) {  // one slice of the merged tensor
    const MergedExperts place = MergedExpertsOf(scheme_, role, layer).value();
    const TensorView* merged = checkpoint.Find(place.name);
    Check(merged != nullptr && merged->rank == 3, "reference: no such expert");
    const Vec all = DecodeTensor(*merged);
    const auto size =
        static_cast<std::ptrdiff_t>(merged->shape[1] * merged->shape[2] / place.n_parts);
    const auto begin = all.begin() + (expert * place.n_parts + place.part) * size;
    return Vec(begin, begin + size);
  }
  if (role == TensorRole::kRouter)
    return DecodeTensor(*checkpoint.Find(RouterNames(scheme_, layer).back()));
  Check(role == TensorRole::kOutput, "reference: missing tensor");
  return embedding_;  // tied
}

ReferenceModel::ReferenceModel(const Checkpoint& checkpoint, const ModelConfig& config)
    : config_(config), scheme_(SchemeOf(checkpoint.kind())) {
  const auto load = [&](TensorRole role, int layer, int expert = -1) {
    return Load(checkpoint, role, layer, expert);
  };
  embedding_ = load(TensorRole::kEmbedding, 0);
  final_norm_ = load(TensorRole::kFinalNorm, 0);
  output_ = config.tied_embeddings ? embedding_ : load(TensorRole::kOutput, 0);
  for (int l = 0; l < config.n_layers; ++l) {
    Layer layer;
    layer.attn_norm = load(TensorRole::kAttnNorm, l);
    layer.q = load(TensorRole::kQ, l);
    layer.k = load(TensorRole::kK, l);
    layer.v = load(TensorRole::kV, l);
    layer.o = load(TensorRole::kO, l);
    layer.ffn_norm = load(TensorRole::kFfnNorm, l);
    if (config.n_experts > 0) layer.router = load(TensorRole::kRouter, l);
    const int first = config.n_experts > 0 ? 0 : -1;  // -1: the dense FFN
    for (int e = first; e < std::max(config.n_experts, first + 1); ++e)
      layer.experts.push_back({load(TensorRole::kExpertGate, l, e),
                               load(TensorRole::kExpertUp, l, e),
                               load(TensorRole::kExpertDown, l, e)});
    layers_.push_back(std::move(layer));
  }
}

}  // namespace mixtral::testing
