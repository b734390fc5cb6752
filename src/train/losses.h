// SPDX-License-Identifier: Apache-2.0
// Losses as sums over rows divided by totals of the whole step, so that they are right however the
// step is cut into micro-batches and ranks. Shared by training, evaluation and the probe.
#pragma once

#include <cstdint>
#include <vector>

#include "train/model.h"

namespace mixtral::train {

enum class BalanceKind : uint8_t {
  kNone,
  kPooled,    // load_balancing_loss_func of transformers: the rows of all layers in one table
  kPerLayer,  // the same formula in every layer, then the mean (PEERS 23)
};

/// Choices of the experts in the whole step. Not differentiable; what a rank or micro-batch cannot
/// know alone.
struct StepRouting {
  Tensor counts;      // [L, E] f64
  double n_rows = 0;  // valid rows, of one layer
};

/// Sum of the batch's own statistics.
StepRouting RoutingOf(const ForwardResult& result);

/// This batch's share of E * sum over e of fraction_e * mean_probability_e, where fractions (they
/// sum to K) and the divisor of the mean are of the whole step. Shares of all batches of a step add
/// up to the loss of the step in one batch, and so do their gradients.
Tensor BalanceLoss(BalanceKind kind, const std::vector<RouterStats>& routers,
                   const StepRouting& step);

/// Share of the mean over layers and rows of logsumexp(router logits)^2 (ST-MoE).
Tensor RouterZLoss(const std::vector<RouterStats>& routers, const StepRouting& step);

/// Log-probabilities of the batch's targets, one per row that has one, in row order.
Tensor BatchLogProbs(const Model& model, const Batch& batch, const ForwardResult& result,
                     torch::ScalarType compute);
/// Rows with a target.
int64_t TargetRows(const Batch& batch);

/// DPO (Rafailov et al. 2023): sums of log-probabilities of P pairs, each [P] -> mean over n_pairs
/// of -log sigmoid(beta * ((pc - rc) - (pr - rr))). n_pairs is the step's.
struct PairLogProbs {
  Tensor chosen, rejected;
};
struct DpoResult {
  Tensor loss;     // [] share of the step
  Tensor margins;  // [P] beta * ((pc - rc) - (pr - rr)), detached
};
DpoResult DpoLoss(const PairLogProbs& policy, const PairLogProbs& reference, double beta,
                  double n_pairs);

/// Mean over layers and rows of KL(reference router || policy router). probs [N, E] per layer.
Tensor RouterKl(const std::vector<RouterStats>& policy, const std::vector<RouterStats>& reference,
                double n_rows);

/// Balancing without a loss (Wang et al. 2024): moves every bias by rate towards even load.
/// counts [L, E] of the step; biases [E] per layer.
void UpdateRouterBias(const Tensor& counts, double rate, std::vector<Tensor>* biases);

}  // namespace mixtral::train
