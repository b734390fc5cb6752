// SPDX-License-Identifier: Apache-2.0
// See adapters.h.
#include "train/adapters.h"

#include <charconv>
#include <cmath>

#include "base/rng.h"
#include "base/strings.h"

namespace mixtral::train {
namespace {

bool IsFeedForward(TensorRole role) {
  return role == TensorRole::kExpertGate || role == TensorRole::kExpertUp ||
         role == TensorRole::kExpertDown;
}

int ParseIndex(std::string_view text, int end, const std::string& target) {
  int value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < 0 || value >= end)
    Throw(ErrorCode::kInvalidArgument,
          "lora_targets: expected a number from 0 to {}, found '{}' in {}", end - 1,
          Printable(text), Printable(target));
  return value;
}

bool Matches(const Parameter& parameter, const std::string& target, const ModelConfig& config) {
  if (target == "q") return parameter.role == TensorRole::kQ;
  if (target == "k") return parameter.role == TensorRole::kK;
  if (target == "v") return parameter.role == TensorRole::kV;
  if (target == "o") return parameter.role == TensorRole::kO;
  if (target == "router") return parameter.role == TensorRole::kRouter;
  if (target == "experts") return IsFeedForward(parameter.role);
  const std::vector<std::string_view> parts = Split(target, ':');
  if (parts.size() != 3 || parts[0] != "expert")
    Throw(ErrorCode::kInvalidArgument,
          "lora_targets: expected q, k, v, o, experts, router or expert:LAYER:INDEX, found '{}'",
          Printable(target));
  return IsFeedForward(parameter.role) &&
         parameter.layer == ParseIndex(parts[1], config.n_layers, target) &&
         parameter.expert == ParseIndex(parts[2], config.n_experts, target);
}

}  // namespace

void AttachAdapters(const AdapterOptions& options, Model* model) {
  uint64_t index = 0;
  for (Parameter& parameter : model->parameters()) {
    ++index;
    if (parameter.base.defined()) parameter.base.set_requires_grad(false);
    bool chosen = false;
    for (const std::string& target : options.targets)
      chosen |= Matches(parameter, target, model->config());
    const bool here = parameter.base.defined() || !parameter.quantised.bytes.empty();
    if (!chosen || !here) continue;
    if (parameter.role == TensorRole::kRouter) {
      parameter.base.set_requires_grad(true);
      continue;
    }
    const int64_t rows = parameter.shape[0], cols = parameter.shape[1];
    parameter.lora_a = torch::empty({options.rank, cols});
    const CounterRng rng(options.seed, index);
    const float deviation = 1.0F / std::sqrt(static_cast<float>(cols));
    for (int64_t i = 0; i < parameter.lora_a.numel(); ++i)
      parameter.lora_a.data_ptr<float>()[i] = deviation * rng.Normal(static_cast<uint64_t>(i));
    parameter.lora_b = torch::zeros({rows, options.rank});
    parameter.lora_a.set_requires_grad(true);
    parameter.lora_b.set_requires_grad(true);
    parameter.lora_scale = options.alpha / static_cast<double>(options.rank);
  }
}

Model WithoutAdapters(const Model& model) {
  Model plain = model;
  for (Parameter& parameter : plain.parameters()) {
    parameter.lora_a = Tensor();
    parameter.lora_b = Tensor();
    if (parameter.base.defined()) parameter.base = parameter.base.detach();
  }
  return plain;
}

}  // namespace mixtral::train
