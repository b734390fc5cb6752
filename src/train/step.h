// SPDX-License-Identifier: Apache-2.0
// One optimizer step: micro-batches, losses of the whole step, gradients added up over ranks,
// clipping and the update, with optimizer state split over the ranks that hold the same tensors.
// Also held-out evaluation, which is the same without gradients. Called by trainer.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/batches.h"
#include "train/distributed.h"
#include "train/losses.h"
#include "train/optimizer.h"
#include "train/sampler.h"
#include "train/train_config.h"

namespace mixtral::train {

/// Sums over the windows of a step or an evaluation, on all ranks.
struct StepResult {
  double ce = 0;   // mean over predicted tokens; dpo: of the chosen answers
  double dpo = 0;  // dpo loss; 0 otherwise
  double margin = 0, accuracy = 0, router_kl = 0;
  double balance = 0, z = 0;
  double total = 0;  // what was minimised
  double grad_norm = 0;
  int64_t n_tokens = 0, n_targets = 0;
  Tensor counts;       // [L, E] f64: choices of each expert; undefined when dense
  double entropy = 0;  // of the routers' probabilities, mean over layers and rows, in nats
  bool stop = false;   // some rank was asked to stop
};

class StepRunner {
 public:
  /// Nothing is owned; reference is the frozen model of dpo or null.
  StepRunner(const TrainConfig& config, const World& world, Model* model, const Model* reference);

  /// windows: all of the step, the same on every rank; this rank takes its share. step counts
  /// from 1.
  StepResult Train(const std::vector<Window>& windows, int64_t step, double learning_rate,
                   bool stop);
  StepResult Evaluate(const std::vector<Window>& windows) const;

  AdamW& optimizer() { return optimizer_; }
  const std::vector<Trainable>& trainables() const { return trainables_; }
  /// Rank within `all` or `replicas` that updates a tensor and keeps its moments.
  bool Owns(size_t trainable) const;
  std::vector<Tensor>& router_bias() { return router_bias_; }

 private:
  struct Totals;  // of the step, known before any forward pass
  struct Sums;    // what micro-batches add up
  using Micro = std::vector<Window>;
  std::vector<Micro> Split(const std::vector<Window>& windows, Totals* totals) const;
  ForwardOptions Options(int64_t step) const;
  Batch ToBatch(const Micro& micro) const;
  Tensor Losses(const Batch& batch, const ForwardResult& forward, const StepRouting& routing,
                const Totals& totals, Sums* sums) const;
  Tensor DpoLosses(const Batch& batch, const ForwardResult& forward, const ForwardResult& reference,
                   const Totals& totals, Sums* sums) const;
  ForwardResult Reference(const Batch& batch, int64_t step) const;
  StepRouting Share(const StepRouting& local, const Totals& totals) const;
  StepRouting CountPass(const std::vector<Micro>& micros, const Totals& totals, int64_t step) const;
  StepResult Run(const std::vector<Window>& windows, int64_t step, bool train, bool stop) const;
  void ReduceGradients() const;
  double GradientNorm() const;
  void Update(double factor, double learning_rate, int64_t step);
  Group& GroupOf(size_t trainable) const;
  void AssignOwners();

  const TrainConfig& config_;
  const World& world_;
  Model* model_;
  const Model* reference_;
  std::unique_ptr<ExpertExchange> exchange_;
  std::vector<Trainable> trainables_;
  std::vector<bool> local_;  // an expert's tensor: only replicas have it
  std::vector<int> owner_;   // rank within GroupOf
  AdamW optimizer_;
  std::vector<Tensor> router_bias_;
  torch::ScalarType compute_;
};

}  // namespace mixtral::train
