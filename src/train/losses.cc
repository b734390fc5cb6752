// SPDX-License-Identifier: Apache-2.0
// Formulas; every one of them is a golden or a finite difference in losses_test.cc.
#include "train/losses.h"

namespace mixtral::train {

StepRouting RoutingOf(const ForwardResult& result) {
  std::vector<Tensor> counts;
  for (const RouterStats& router : result.routers) counts.push_back(router.counts.detach());
  StepRouting routing;
  if (!counts.empty()) routing.counts = torch::stack(counts);
  routing.n_rows = result.n_valid;
  return routing;
}

Tensor BalanceLoss(BalanceKind kind, const std::vector<RouterStats>& routers,
                   const StepRouting& step) {
  if (kind == BalanceKind::kNone || routers.empty() || step.n_rows == 0) return torch::zeros({});
  std::vector<Tensor> sums;
  for (const RouterStats& router : routers) sums.push_back(router.prob_sum);
  const Tensor mean_probs = torch::stack(sums) / step.n_rows;  // [L, E], this batch's share
  Tensor fractions = step.counts / step.n_rows;                // [L, E]
  // A pooled row is a row of any layer: both factors become means over layers.
  if (kind == BalanceKind::kPooled) fractions = fractions.mean(0, true).expand_as(fractions);
  const auto n_experts = static_cast<double>(fractions.size(1));
  return (fractions.to(torch::kFloat32) * mean_probs).sum() *
         (n_experts / static_cast<double>(routers.size()));
}

Tensor RouterZLoss(const std::vector<RouterStats>& routers, const StepRouting& step) {
  Tensor sum = torch::zeros({});
  if (step.n_rows == 0) return sum;
  for (const RouterStats& router : routers) sum = sum + router.z_sum;
  return sum / (step.n_rows * static_cast<double>(std::max<size_t>(routers.size(), 1)));
}

Tensor BatchLogProbs(const Model& model, const Batch& batch, const ForwardResult& result,
                     torch::ScalarType compute) {
  const Tensor rows = (batch.targets >= 0).nonzero().squeeze(1);
  return model.TargetLogProbs(result.hidden.index_select(0, rows),
                              batch.targets.index_select(0, rows), compute);
}

int64_t TargetRows(const Batch& batch) { return (batch.targets >= 0).sum().item<int64_t>(); }

DpoResult DpoLoss(const PairLogProbs& policy, const PairLogProbs& reference, double beta,
                  double n_pairs) {
  const Tensor margins =
      beta * ((policy.chosen - reference.chosen) - (policy.rejected - reference.rejected));
  return {-torch::log_sigmoid(margins).sum() / n_pairs, margins.detach()};
}

Tensor RouterKl(const std::vector<RouterStats>& policy, const std::vector<RouterStats>& reference,
                double n_rows) {
  Tensor sum = torch::zeros({});
  for (size_t layer = 0; layer < policy.size(); ++layer) {
    const Tensor q = reference[layer].probs.detach(), p = policy[layer].probs;
    sum = sum + (q * ((q + 1e-20).log() - (p + 1e-20).log())).sum();
  }
  return sum / (n_rows * static_cast<double>(std::max<size_t>(policy.size(), 1)));
}

void UpdateRouterBias(const Tensor& counts, double rate, std::vector<Tensor>* biases) {
  const torch::NoGradGuard no_grad;
  const Tensor too_few = (counts.mean(1, true) - counts).sign().to(torch::kFloat32);
  for (size_t layer = 0; layer < biases->size(); ++layer)
    (*biases)[layer].add_(too_few[static_cast<int64_t>(layer)], rate);
}

}  // namespace mixtral::train
