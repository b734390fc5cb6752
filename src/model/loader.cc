// SPDX-License-Identifier: Apache-2.0
// Walks the model role by role: find the tensor under the checkpoint's own name, compare its shape
// with the config, upload it. What is left over at the end is looked at too, so that a tensor that
// would change the result is never dropped in silence.
#include "model/loader.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "base/error.h"
#include "moe/resident_store.h"
#include "spec/fixups.h"
#include "spec/names.h"

namespace mixtral {

namespace {

ParsedConfig ParseConfig(const Checkpoint& checkpoint) {
  switch (checkpoint.kind()) {
    case CheckpointKind::kHuggingFace:
      return ConfigFromHuggingFace(checkpoint.config());
    case CheckpointKind::kMistral:
      return ConfigFromMistral(checkpoint.config());
    case CheckpointKind::kGguf:
      return ConfigFromGguf(checkpoint.config());
  }
  Throw(ErrorCode::kInternal, "unknown checkpoint kind");
}

std::string ShapeText(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "[" + text + "]";
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelConfig& config, Backend* backend)
      : checkpoint_(checkpoint),
        config_(config),
        backend_(backend),
        scheme_(SchemeOf(checkpoint.kind())) {}

  Weights LoadWeights() {
    Weights weights;
    weights.embedding = LoadMatrix(TensorRole::kEmbedding, 0, {config_.vocab_size, config_.dim});
    for (int layer = 0; layer < config_.n_layers; ++layer)
      weights.layers.push_back(LoadLayer(layer));
    weights.final_norm = LoadVector(TensorRole::kFinalNorm, 0);
    weights.output = config_.tied_embeddings
                         ? weights.embedding
                         : LoadMatrix(TensorRole::kOutput, 0, {config_.vocab_size, config_.dim});
    return weights;
  }

  std::unique_ptr<ExpertStore> LoadExperts() {
    std::vector<std::vector<ExpertWeights>> experts;
    const std::array<int64_t, 2> wide = {config_.ffn_dim, config_.dim};
    const std::array<int64_t, 2> tall = {config_.dim, config_.ffn_dim};
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      std::vector<ExpertWeights>& row = experts.emplace_back();
      if (config_.n_experts == 0) {
        row.push_back({LoadMatrix(TensorRole::kExpertGate, layer, wide),
                       LoadMatrix(TensorRole::kExpertUp, layer, wide),
                       LoadMatrix(TensorRole::kExpertDown, layer, tall)});
        continue;
      }
      for (int expert = 0; expert < config_.n_experts; ++expert)
        row.push_back({LoadExpertMatrix(TensorRole::kExpertGate, layer, expert, wide),
                       LoadExpertMatrix(TensorRole::kExpertUp, layer, expert, wide),
                       LoadExpertMatrix(TensorRole::kExpertDown, layer, expert, tall)});
    }
    return std::make_unique<ResidentStore>(std::move(experts));
  }

  /// A line about tensors that no role asked for, if there are any.
  std::optional<std::string> Leftovers() const {
    size_t n_ignored = 0;
    std::string first;
    for (const std::string& name : checkpoint_.Names()) {
      if (used_.contains(name) || name.ends_with("rotary_emb.inv_freq")) continue;
      if (name == "rope_freqs.weight")
        Throw(ErrorCode::kUnsupported,
              "tensor rope_freqs.weight: expected none (scaled rotary frequencies are not "
              "supported), found one, in {}",
              checkpoint_.Where(name));
      if (name.ends_with(".bias"))
        Throw(ErrorCode::kUnsupported,
              "tensor {}: expected none (this architecture has no biases), found one, in {}", name,
              checkpoint_.Where(name));
      if (n_ignored++ == 0) first = name;
    }
    if (n_ignored == 0) return std::nullopt;
    return fmt::format("{} unknown tensor{} ignored, the first is {}", n_ignored,
                       n_ignored == 1 ? "" : "s", first);
  }

 private:
  LayerWeights LoadLayer(int layer) {
    const int64_t dim = config_.dim;
    const int64_t q_rows = int64_t{config_.n_heads} * config_.head_dim;
    const int64_t kv_rows = int64_t{config_.n_kv_heads} * config_.head_dim;
    LayerWeights w;
    w.attn_norm = LoadVector(TensorRole::kAttnNorm, layer);
    w.q = LoadMatrix(TensorRole::kQ, layer, {q_rows, dim});
    w.k = LoadMatrix(TensorRole::kK, layer, {kv_rows, dim});
    w.v = LoadMatrix(TensorRole::kV, layer, {kv_rows, dim});
    w.o = LoadMatrix(TensorRole::kO, layer, {dim, q_rows});
    w.ffn_norm = LoadVector(TensorRole::kFfnNorm, layer);
    if (config_.n_experts > 0)
      w.router = backend_->Upload(
          Require(RouterName(layer), std::array<int64_t, 2>{config_.n_experts, dim}));
    return w;
  }

  WeightRef LoadVector(TensorRole role, int layer) {
    const std::string name = TensorName(scheme_, role, layer);
    return backend_->UploadAsF32(Require(name, std::array<int64_t, 1>{config_.dim}));
  }

  WeightRef LoadMatrix(TensorRole role, int layer, std::array<int64_t, 2> shape) {
    return backend_->Upload(Require(TensorName(scheme_, role, layer), shape));
  }

  /// The one of its names that is there.
  std::string RouterName(int layer) const {
    const std::vector<std::string> names = RouterNames(scheme_, layer);
    const std::string* found = nullptr;
    for (const std::string& name : names) {
      if (checkpoint_.Look(name) == nullptr) continue;
      if (found != nullptr) RefuseBoth(*found, name);
      found = &name;
    }
    if (found == nullptr && names.size() > 1) RefuseNeither(names[0], names[1]);
    return found != nullptr ? *found : names.front();
  }

  /// A tensor of its own or a slice of the layer's merged one: the file's choice, layer by layer.
  WeightRef LoadExpertMatrix(TensorRole role, int layer, int expert, std::array<int64_t, 2> shape) {
    const std::string single = TensorName(scheme_, role, layer, expert);
    const bool has_single = checkpoint_.Look(single) != nullptr;
    const std::optional<MergedExperts> merged = MergedExpertsOf(scheme_, role, layer);
    if (merged && checkpoint_.Look(merged->name) != nullptr) {
      if (has_single) RefuseBoth(single, merged->name);
      return backend_->Upload(Slice(*merged, expert, shape));
    }
    if (merged && !has_single) RefuseNeither(single, merged->name);
    return backend_->Upload(Require(single, shape));
  }

  /// One expert's matrix [rows, cols] inside a merged tensor; nothing is copied.
  TensorView Slice(const MergedExperts& merged, int expert, std::array<int64_t, 2> shape) {
    const std::array<int64_t, 3> whole = {config_.n_experts, merged.n_parts * shape[0], shape[1]};
    const TensorView& all = Require(merged.name, whole);
    const size_t bytes = static_cast<size_t>(shape[0]) * RowBytes(all.dtype, shape[1]);
    const auto index = static_cast<size_t>(expert * merged.n_parts + merged.part);
    TensorView one;
    one.dtype = all.dtype;
    one.rank = 2;
    one.shape = {shape[0], shape[1], 0, 0};
    one.bytes = all.bytes.subspan(index * bytes, bytes);
    return one;
  }

  [[noreturn]] void RefuseBoth(const std::string& one, const std::string& other) const {
    Throw(ErrorCode::kCorrupt, "tensor {}: expected this or {}, found both, in {}", one, other,
          checkpoint_.path());
  }
  [[noreturn]] void RefuseNeither(const std::string& one, const std::string& other) const {
    Throw(ErrorCode::kNotFound, "tensor {}: expected this or {}, found neither, in {}", one, other,
          checkpoint_.path());
  }

  /// The tensor, after its type and shape were checked.
  const TensorView& Require(const std::string& name, std::span<const int64_t> shape) {
    const TensorView* view = checkpoint_.Look(name);
    if (view == nullptr)
      Throw(ErrorCode::kNotFound, "tensor {}: expected shape {}, found no such tensor, in {}", name,
            ShapeText(shape), checkpoint_.path());
    if (Index(view->dtype) >= static_cast<size_t>(kNumMatrixDTypes))
      Throw(ErrorCode::kUnsupported,
            "tensor type: expected floating-point or quantised weights, found {}, in {}",
            Name(view->dtype), checkpoint_.Where(name));
    const auto found = std::span(view->shape).first(static_cast<size_t>(view->rank));
    if (!std::equal(shape.begin(), shape.end(), found.begin(), found.end()))
      Throw(ErrorCode::kCorrupt, "tensor shape: expected {}, found {}, in {}", ShapeText(shape),
            ShapeText(found), checkpoint_.Where(name));
    const int64_t cols = shape.back();
    if (cols % Info(view->dtype).block_elements != 0)
      Throw(ErrorCode::kUnsupported,
            "tensor row: expected a multiple of {} values for {}, found {}, in {}",
            Info(view->dtype).block_elements, Name(view->dtype), cols, checkpoint_.Where(name));
    used_.insert(name);
    return *checkpoint_.Find(name);  // converts where the file has another form
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  Backend* backend_;
  NamingScheme scheme_;
  std::set<std::string> used_;
};

}  // namespace

NamingScheme SchemeOf(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kHuggingFace:
      return NamingScheme::kHuggingFace;
    case CheckpointKind::kMistral:
      return NamingScheme::kMistral;
    case CheckpointKind::kGguf:
      return NamingScheme::kGguf;
  }
  Throw(ErrorCode::kInternal, "unknown checkpoint kind");
}

ParsedConfig ReadConfig(const Checkpoint& checkpoint) {
  return WithContext(checkpoint.config_path(), [&] {
    ParsedConfig parsed = ParseConfig(checkpoint);
    const NamingScheme scheme = SchemeOf(checkpoint.kind());
    if (parsed.config.vocab_size == 0) {
      const std::string name = TensorName(scheme, TensorRole::kEmbedding);
      const TensorView* embedding = checkpoint.Look(name);
      if (embedding == nullptr)
        Throw(ErrorCode::kNotFound,
              "tensor {}: expected shape [vocabulary, {}], found no such "
              "tensor",
              name, parsed.config.dim);
      if (embedding->shape[0] > std::numeric_limits<int>::max())
        Throw(ErrorCode::kUnsupported, "tensor {}: expected fewer than 2^31 rows, found {}", name,
              embedding->shape[0]);
      parsed.config.vocab_size = static_cast<int>(embedding->shape[0]);
    }
    // GGUF has no key for tied embeddings: the output matrix is left out.
    if (scheme == NamingScheme::kGguf &&
        checkpoint.Look(TensorName(scheme, TensorRole::kOutput)) == nullptr)
      parsed.config.tied_embeddings = true;
    parsed.config.Validate();
    return parsed;
  });
}

LoadedModel LoadModel(const Checkpoint& checkpoint, Backend* backend) {
  ParsedConfig parsed = ReadConfig(checkpoint);
  LoadedModel model;
  model.config = parsed.config;
  model.notices = std::move(parsed.notices);
  model.rope_order =
      HasHalfSplitRope(SchemeOf(checkpoint.kind())) ? RopeOrder::kHalf : RopeOrder::kInterleaved;
  Loader loader(checkpoint, model.config, backend);
  model.weights = loader.LoadWeights();
  model.experts = loader.LoadExperts();
  if (std::optional<std::string> notice = loader.Leftovers())
    model.notices.push_back(std::move(*notice));
  return model;
}

}  // namespace mixtral
