// SPDX-License-Identifier: Apache-2.0
// See batches.h.
#include "train/batches.h"

namespace mixtral::train {

Batch MakeBatch(const std::vector<Sequence>& sequences) {
  std::vector<int64_t> tokens, targets;
  std::vector<uint8_t> valid;
  Batch batch;
  for (const Sequence& sequence : sequences) {
    const auto length = static_cast<int64_t>(sequence.tokens.size());
    batch.segments.push_back(
        {static_cast<int64_t>(tokens.size()), length, sequence.first_position});
    const int64_t n_real = length - sequence.n_padding;
    for (int64_t t = 0; t < length; ++t) {
      const auto next = static_cast<size_t>(t + 1);
      const bool counts = t + 1 < n_real && (sequence.loss.empty() || sequence.loss[next] != 0);
      tokens.push_back(sequence.tokens[static_cast<size_t>(t)]);
      targets.push_back(counts ? sequence.tokens[next] : -1);
      valid.push_back(t < n_real ? 1 : 0);
    }
  }
  batch.tokens = torch::tensor(tokens, torch::kInt64);
  batch.targets = torch::tensor(targets, torch::kInt64);
  batch.valid = torch::tensor(valid, torch::kUInt8).to(torch::kBool);
  return batch;
}

Tensor SumPerSegment(const Batch& batch, const Tensor& values) {
  std::vector<int64_t> segment_of;
  for (size_t s = 0; s < batch.segments.size(); ++s)
    segment_of.insert(segment_of.end(), static_cast<size_t>(batch.segments[s].length),
                      static_cast<int64_t>(s));
  const Tensor rows = (batch.targets >= 0).nonzero().squeeze(1);
  const Tensor owner = torch::tensor(segment_of, torch::kInt64).index_select(0, rows);
  return torch::zeros({static_cast<int64_t>(batch.segments.size())}).index_add(0, owner, values);
}

std::vector<Trainable> Trainables(const Model& model, DecayRule rule) {
  std::vector<Trainable> trainables;
  const auto add = [&](const std::string& name, const Tensor& value, bool decayed) {
    if (value.defined() && value.requires_grad()) trainables.push_back({name, value, decayed});
  };
  for (const Parameter& parameter : model.parameters()) {
    const bool matrix = parameter.shape.size() > 1 && parameter.role != TensorRole::kEmbedding;
    add(parameter.name, parameter.base, rule == DecayRule::kEverything || matrix);
    add(parameter.name + ".lora_a", parameter.lora_a, true);
    add(parameter.name + ".lora_b", parameter.lora_b, true);
  }
  return trainables;
}

void ClearGradients(const std::vector<Trainable>& trainables) {
  for (const Trainable& trainable : trainables) {
    Tensor value = trainable.value;
    value.mutable_grad() = Tensor();
  }
}

}  // namespace mixtral::train
