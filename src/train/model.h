// SPDX-License-Identifier: Apache-2.0
// The architecture of PAPER.md in LibTorch: parameters under Hugging Face's names and the forward
// pass over documents that lie one after the other. Shared by every kind of training and the probe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "spec/config.h"
#include "spec/names.h"
#include "tensor/view.h"
#include "train/attention.h"
#include "train/moe_layer.h"
#include "train/torch.h"

namespace mixtral::train {

/// A tensor of the model. Its value in the forward pass is base (or what a quantised file holds)
/// plus, with an adapter, scale * b a (LoRA, Hu et al. 2021).
struct Parameter {
  std::string name;  // Hugging Face's
  TensorRole role = TensorRole::kEmbedding;
  int layer = 0, expert = -1;
  std::vector<int64_t> shape;
  Tensor base;                // undefined: quantised, or owned by another rank
  TensorView quantised;       // bytes non-empty: frozen, in its file's own type (QLoRA)
  int interleaved_heads = 0;  // > 0: quantised rows are in the other rotation order
  Tensor lora_a, lora_b;      // [r, cols], [rows, r]; undefined without an adapter
  double lora_scale = 0;

  Tensor Value() const;  // differentiable
  bool IsExpert() const { return expert >= 0; }
};

/// A batch of documents, row after row. N rows in all.
struct Batch {
  Tensor tokens;                  // [N] int64
  Tensor targets;                 // [N] int64: the token to predict, -1: no loss here
  Tensor valid;                   // [N] bool: rows that balance losses count; undefined: all
  std::vector<Segment> segments;  // they cover the rows in order
  int64_t first_row = 0;          // of this batch within the step, for the jitter's random numbers
};

/// Exchange of rows between the ranks that own the experts; distributed.cc has the real one.
class ExpertExchange {
 public:
  virtual ~ExpertExchange() = default;
  /// rows [M, D] sorted by expert, counts [E] -> outputs [M, D] in the same order. Differentiable.
  virtual Tensor Apply(const Tensor& rows, const std::vector<int64_t>& counts,
                       const ExpertTensors& local_experts, torch::ScalarType compute) = 0;
};

/// kLoop: NaiveExperts, to measure what the other one is worth.
enum class MixtureKind : uint8_t { kDropless, kLoop };

struct ForwardOptions {
  torch::ScalarType compute = torch::kFloat32;  // of matrix products; sums and norms stay f32
  bool checkpoint_activations = false;          // keep each layer's input only, compute it again
  double jitter = 0;                            // router inputs times uniform(1 - j, 1 + j)
  uint64_t seed = 0;                            // of the jitter: seed and step
  std::vector<Tensor> router_bias;              // [E] per layer: added for the choice alone
  std::vector<Tensor> forced_ids;               // [N, K] per layer: the choice itself
  bool keep_router_probs = false;
  MixtureKind mixture = MixtureKind::kDropless;
  ExpertExchange* exchange = nullptr;  // not owned; null: all experts are here
};

/// What the router of one layer did in one batch; sums over the valid rows.
struct RouterStats {
  Tensor counts;       // [E] f64: choices of each expert
  Tensor prob_sum;     // [E] f32, differentiable: softmax over all experts
  Tensor z_sum;        // [] f32, differentiable: squared logsumexp of the logits
  Tensor entropy_sum;  // [] f64
  Tensor ids;          // [N, K] ascending
  Tensor probs;        // [N, E] differentiable, when asked for
};

struct ForwardResult {
  Tensor hidden;  // [N, D] after the final norm
  std::vector<RouterStats> routers;
  double n_valid = 0;
};

class Model {
 public:
  /// All parameters declared, none filled.
  explicit Model(const ModelConfig& config);

  /// Random weights: normal with deviation 0.02, projections into the residual stream divided by
  /// sqrt(2 * n_layers), norms 1. The numbers are a function of seed and name alone.
  void Initialise(uint64_t seed);

  ForwardResult Forward(const Batch& batch, const ForwardOptions& options) const;
  /// Log-probabilities [M] of targets [M] at hidden rows [M, D]; logits live only in pieces.
  Tensor TargetLogProbs(const Tensor& hidden, const Tensor& targets,
                        torch::ScalarType compute) const;
  Tensor Logits(const Tensor& hidden) const;  // [M, V], for comparisons

  const ModelConfig& config() const { return config_; }
  std::vector<Parameter>& parameters() { return parameters_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  Parameter& Find(TensorRole role, int layer, int expert = -1);

  /// Only some experts live here (expert parallelism). Default: all.
  void SetLocalExperts(int first, int n);
  int first_local_expert() const { return first_expert_; }
  int n_local_experts() const { return n_local_experts_; }

 private:
  struct LayerIndex {
    size_t attn_norm, q, k, v, o, ffn_norm, router;
    std::vector<size_t> gate, up, down;
  };
  size_t Declare(TensorRole role, int layer, int expert, std::vector<int64_t> shape);
  void DeclareLayer(int layer);
  Tensor Attention(const LayerIndex& layer, const Tensor& x, const Batch& batch,
                   const RopeTables& rope, torch::ScalarType compute) const;
  Tensor Experts(const LayerIndex& layer, const Tensor& x, const Tensor& ids, const Tensor& weights,
                 const ForwardOptions& options) const;
  /// [hidden, prob_sum, z_sum, counts, entropy_sum, ids, probs]
  std::vector<Tensor> RunLayer(size_t layer, const Tensor& hidden, const Batch& batch,
                               const RopeTables& rope, const ForwardOptions& options) const;
  std::vector<Tensor> Leaves(size_t layer) const;  // what a layer's gradient goes to

  ModelConfig config_;
  std::vector<Parameter> parameters_;
  std::vector<LayerIndex> layers_;
  size_t embedding_ = 0, final_norm_ = 0, output_ = 0;
  int first_expert_ = 0, n_local_experts_ = 0;
};

}  // namespace mixtral::train
