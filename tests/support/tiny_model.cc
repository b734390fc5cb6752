// SPDX-License-Identifier: Apache-2.0
// Draws the weights of a tiny model: one stream of the generator per tensor, so that a tensor's
// values do not depend on which others the config has.
#include "support/tiny_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "tensor/float_bits.h"

namespace mixtral::testing {

namespace {

// Rounded to f16, then to bf16; what f16 would store as a subnormal becomes 0, so that the value
// survives both types.
float RoundTo16(float x) {
  const float rounded = Bf16ToF32(F32ToBf16(F16ToF32(F32ToF16(x))));
  return std::fabs(rounded) < 0x1.0p-14f ? 0.0f : rounded;
}

uint64_t StreamOf(TensorRole role, int layer, int expert) {
  return static_cast<uint64_t>(role) * 1'000'003u + static_cast<uint64_t>(layer) * 1009u +
         static_cast<uint64_t>(expert + 1);
}

struct Draw {
  TinyModel* model;
  uint64_t seed;
  TinyValues kind;

  // Normal numbers of the given deviation around a mean.
  void operator()(TensorRole role, int layer, int expert, int64_t rows, int64_t cols, float mean,
                  float deviation) const {
    const CounterRng rng(seed, StreamOf(role, layer, expert));
    TinyTensor tensor{role, layer, expert, rows, cols, {}};
    tensor.values.resize(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      const float value = mean + deviation * rng.Normal(i);
      tensor.values[i] = kind == TinyValues::kExact16 ? RoundTo16(value) : value;
    }
    model->tensors.push_back(std::move(tensor));
  }
};

void DrawLayer(const Draw& draw, const ModelConfig& c, int layer) {
  const int64_t dim = c.dim, ffn = c.ffn_dim;
  const int64_t q_rows = int64_t{c.n_heads} * c.head_dim;
  const int64_t kv_rows = int64_t{c.n_kv_heads} * c.head_dim;
  const float by_dim = 1.0f / std::sqrt(static_cast<float>(dim));
  const float by_q = 1.0f / std::sqrt(static_cast<float>(q_rows));
  const float by_ffn = 1.0f / std::sqrt(static_cast<float>(ffn));
  draw(TensorRole::kAttnNorm, layer, -1, 1, dim, 1.0f, 0.1f);
  draw(TensorRole::kQ, layer, -1, q_rows, dim, 0.0f, 1.5f * by_dim);
  draw(TensorRole::kK, layer, -1, kv_rows, dim, 0.0f, 1.5f * by_dim);
  draw(TensorRole::kV, layer, -1, kv_rows, dim, 0.0f, by_dim);
  draw(TensorRole::kO, layer, -1, dim, q_rows, 0.0f, by_q);
  draw(TensorRole::kFfnNorm, layer, -1, 1, dim, 1.0f, 0.1f);
  if (c.n_experts > 0) draw(TensorRole::kRouter, layer, -1, c.n_experts, dim, 0.0f, 2.0f * by_dim);
  for (int e = c.n_experts > 0 ? 0 : -1; e < c.n_experts; ++e) {
    draw(TensorRole::kExpertGate, layer, e, ffn, dim, 0.0f, 1.5f * by_dim);
    draw(TensorRole::kExpertUp, layer, e, ffn, dim, 0.0f, 1.5f * by_dim);
    draw(TensorRole::kExpertDown, layer, e, dim, ffn, 0.0f, by_ffn);
    if (c.n_experts == 0) break;
  }
}

}  // namespace

const TinyTensor& TinyModel::Get(TensorRole role, int layer, int expert) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TinyTensor& t) {
    return t.role == role && t.layer == layer && t.expert == expert;
  });
  Check(found != tensors.end(), "tiny model without this tensor");
  return *found;
}

ModelConfig TinyConfig() {
  ModelConfig config;
  config.n_layers = 2;
  config.dim = 32;
  config.ffn_dim = 48;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 8;
  config.vocab_size = 288;
  config.n_experts = 4;
  config.experts_per_token = 2;
  config.max_context = 1024;
  config.rope_theta = 1e6f;
  config.norm_eps = 1e-5f;
  return config;
}

ModelConfig TinyConfig256() {
  ModelConfig config = TinyConfig();
  config.dim = 256;
  config.ffn_dim = 256;
  config.n_heads = 8;
  config.head_dim = 32;
  return config;
}

TinyModel MakeTinyModel(const ModelConfig& config, uint64_t seed, TinyValues values) {
  TinyModel model;
  model.config = config;
  const Draw draw{&model, seed, values};
  const float by_dim = 1.0f / std::sqrt(static_cast<float>(config.dim));
  draw(TensorRole::kEmbedding, 0, -1, config.vocab_size, config.dim, 0.0f, 1.0f);
  for (int layer = 0; layer < config.n_layers; ++layer) DrawLayer(draw, config, layer);
  draw(TensorRole::kFinalNorm, 0, -1, 1, config.dim, 1.0f, 0.1f);
  if (!config.tied_embeddings)
    draw(TensorRole::kOutput, 0, -1, config.vocab_size, config.dim, 0.0f, 3.0f * by_dim);
  return model;
}

bool IsVector(TensorRole role) {
  return role == TensorRole::kFinalNorm || role == TensorRole::kAttnNorm ||
         role == TensorRole::kFfnNorm;
}

std::vector<float> InterleaveRows(const TinyTensor& tensor, int head_dim) {
  std::vector<float> out(tensor.values.size());
  const auto cols = static_cast<size_t>(tensor.cols);
  for (int64_t row = 0; row < tensor.rows; ++row) {
    const int64_t head = row / head_dim, within = row % head_dim;
    const int64_t from = head * head_dim + (within % 2) * (head_dim / 2) + within / 2;
    std::copy_n(tensor.values.begin() + from * tensor.cols, cols, out.begin() + row * tensor.cols);
  }
  return out;
}

std::vector<int32_t> RandomTokens(int n, int vocab_size, uint64_t seed) {
  const CounterRng rng(seed, 77);
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int32_t>(rng.Bits(i) % static_cast<uint64_t>(vocab_size));
  return tokens;
}

}  // namespace mixtral::testing
