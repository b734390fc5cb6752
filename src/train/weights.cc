// SPDX-License-Identifier: Apache-2.0
// Finds each parameter under the checkpoint's own name, in either layout of experts, checks its
// shape and decodes it.
#include "train/weights.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "base/rng.h"
#include "spec/fixups.h"
#include "train/weight_decode.h"

namespace mixtral::train {
namespace {

NamingScheme SchemeOf(CheckpointKind kind) {
  if (kind == CheckpointKind::kHuggingFace) return NamingScheme::kHuggingFace;
  return kind == CheckpointKind::kMistral ? NamingScheme::kMistral : NamingScheme::kGguf;
}

ParsedConfig ParseConfig(const Checkpoint& checkpoint) {
  if (checkpoint.kind() == CheckpointKind::kHuggingFace)
    return ConfigFromHuggingFace(checkpoint.config());
  if (checkpoint.kind() == CheckpointKind::kMistral) return ConfigFromMistral(checkpoint.config());
  return ConfigFromGguf(checkpoint.config());
}

class Reader {
 public:
  Reader(const Checkpoint& checkpoint, const ModelConfig& config)
      : checkpoint_(checkpoint), config_(config), scheme_(SchemeOf(checkpoint.kind())) {}

  /// The tensor of a parameter, with expert -1 for a dense feed-forward part.
  TensorView Find(const Parameter& parameter, int expert) const {
    if (parameter.role == TensorRole::kRouter) {
      for (const std::string& name : RouterNames(scheme_, parameter.layer)) {
        if (checkpoint_.Find(name) != nullptr) return Require(name, parameter.shape);
      }
    }
    const std::string name = TensorName(scheme_, parameter.role, parameter.layer, expert);
    if (expert >= 0 && checkpoint_.Find(name) == nullptr) {
      const std::optional<MergedExperts> merged =
          MergedExpertsOf(scheme_, parameter.role, parameter.layer);
      if (merged && checkpoint_.Find(merged->name) != nullptr)
        return Slice(*merged, expert, parameter.shape);
    }
    return Require(name, parameter.shape);
  }

  /// Heads whose rows are in the other rotation order; 0: none.
  int InterleavedHeads(TensorRole role) const {
    if (HasHalfSplitRope(scheme_)) return 0;
    if (role == TensorRole::kQ) return config_.n_heads;
    return role == TensorRole::kK ? config_.n_kv_heads : 0;
  }

 private:
  TensorView Require(const std::string& name, const std::vector<int64_t>& shape) const {
    const TensorView* view = checkpoint_.Find(name);
    if (view == nullptr)
      Throw(ErrorCode::kNotFound, "tensor {}: expected shape [{}], found no such tensor, in {}",
            name, fmt::join(shape, ", "), checkpoint_.path());
    const std::vector<int64_t> found(view->shape.begin(), view->shape.begin() + view->rank);
    if (found != shape)
      Throw(ErrorCode::kCorrupt, "tensor shape: expected [{}], found [{}], in {}",
            fmt::join(shape, ", "), fmt::join(found, ", "), checkpoint_.Where(name));
    return *view;
  }

  TensorView Slice(const MergedExperts& merged, int expert,
                   const std::vector<int64_t>& shape) const {
    const TensorView all =
        Require(merged.name, {config_.n_experts, merged.n_parts * shape[0], shape[1]});
    const size_t bytes = static_cast<size_t>(shape[0]) * RowBytes(all.dtype, shape[1]);
    TensorView one = {all.dtype, 2, {shape[0], shape[1]}, {}};
    one.bytes = all.bytes.subspan(
        static_cast<size_t>(expert * merged.n_parts + merged.part) * bytes, bytes);
    return one;
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  NamingScheme scheme_;
};

bool IsLocal(const Model& model, const Parameter& parameter) {
  return !parameter.IsExpert() ||
         (parameter.expert >= model.first_local_expert() &&
          parameter.expert < model.first_local_expert() + model.n_local_experts());
}

}  // namespace

OpenedCheckpoint OpenForTraining(const std::string& path) {
  OpenedCheckpoint opened;
  opened.file = OpenCheckpoint(path);
  const Checkpoint& file = *opened.file;
  ParsedConfig parsed = WithContext(file.config_path(), [&] { return ParseConfig(file); });
  const NamingScheme scheme = SchemeOf(file.kind());
  if (parsed.config.vocab_size == 0) {
    const std::string name = TensorName(scheme, TensorRole::kEmbedding);
    const TensorView* embedding = file.Find(name);
    if (embedding == nullptr || embedding->shape[0] > std::numeric_limits<int>::max())
      Throw(ErrorCode::kNotFound, "tensor {}: expected the embedding, found none, in {}", name,
            path);
    parsed.config.vocab_size = static_cast<int>(embedding->shape[0]);
  }
  if (scheme == NamingScheme::kGguf &&
      file.Find(TensorName(scheme, TensorRole::kOutput)) == nullptr)
    parsed.config.tied_embeddings = true;
  parsed.config.Validate();
  opened.config = parsed.config;
  opened.notices = std::move(parsed.notices);
  return opened;
}

void LoadWeights(const Checkpoint& checkpoint, Model* model, BaseStorage storage) {
  const Reader reader(checkpoint, model->config());
  for (Parameter& parameter : model->parameters()) {
    if (!IsLocal(*model, parameter)) continue;
    const TensorView view = reader.Find(parameter, parameter.expert);
    const int heads = reader.InterleavedHeads(parameter.role);
    if (storage == BaseStorage::kQuantised && view.rank == 2) {
      parameter.quantised = view;
      parameter.interleaved_heads = heads;
    } else {
      parameter.base = DecodeView(view, heads);
      parameter.base.set_requires_grad(storage == BaseStorage::kTrainable);
    }
  }
}

void UpcycleWeights(const Checkpoint& dense, double noise, uint64_t seed, Model* model) {
  const Reader reader(dense, model->config());
  model->Initialise(seed);
  const torch::NoGradGuard no_grad;
  for (Parameter& parameter : model->parameters()) {
    if (parameter.role == TensorRole::kRouter || !parameter.base.defined()) continue;
    const TensorView view = reader.Find(parameter, -1);
    const Tensor copy = DecodeView(view, reader.InterleavedHeads(parameter.role));
    if (parameter.IsExpert() && noise > 0) {
      // Initialise left random numbers of a known deviation there: reuse them.
      const Tensor random = parameter.base / parameter.base.std();
      parameter.base.copy_(copy + random * copy.std() * noise);
    } else {
      parameter.base.copy_(copy);
    }
  }
}

}  // namespace mixtral::train
