// SPDX-License-Identifier: Apache-2.0
// One autograd function over pieces of at most kPieceElements logits.
#include "train/target_log_probs.h"

#include <algorithm>

namespace mixtral::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kPieceElements = int64_t{1} << 23;  // 32 MiB of f32

class LogProbsFunction : public torch::autograd::Function<LogProbsFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& output,
                        const Tensor& targets, int64_t compute) {
    const auto type = static_cast<torch::ScalarType>(compute);
    const Tensor transposed = output.to(type).t();
    Tensor log_probs = torch::empty({hidden.size(0)}, hidden.options().dtype(torch::kFloat32));
    Tensor log_sums = torch::empty_like(log_probs);
    const int64_t step = std::max(int64_t{1}, kPieceElements / output.size(0));
    for (int64_t first = 0; first < hidden.size(0); first += step) {
      const int64_t n = std::min(step, hidden.size(0) - first);
      const Tensor logits = hidden.narrow(0, first, n).to(type).mm(transposed).to(torch::kFloat32);
      const Tensor sums = logits.logsumexp(1);
      const Tensor chosen = logits.gather(1, targets.narrow(0, first, n).unsqueeze(1)).squeeze(1);
      log_probs.narrow(0, first, n).copy_(chosen - sums);
      log_sums.narrow(0, first, n).copy_(sums);
    }
    ctx->save_for_backward({hidden, output, targets, log_sums});
    ctx->saved_data["compute"] = compute;
    return log_probs;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &hidden = saved[0], &output = saved[1], &targets = saved[2], &log_sums = saved[3];
    const auto type = static_cast<torch::ScalarType>(ctx->saved_data["compute"].toInt());
    const Tensor matrix = output.to(type);
    Tensor d_hidden = torch::empty_like(hidden);
    Tensor d_output;
    if (output.requires_grad()) d_output = torch::zeros_like(output);
    const int64_t step = std::max(int64_t{1}, kPieceElements / output.size(0));
    for (int64_t first = 0; first < hidden.size(0); first += step) {
      const int64_t n = std::min(step, hidden.size(0) - first);
      const Tensor x = hidden.narrow(0, first, n).to(type);
      const Tensor grad = grads[0].narrow(0, first, n).unsqueeze(1);
      Tensor p = x.mm(matrix.t()).to(torch::kFloat32);
      p.sub_(log_sums.narrow(0, first, n).unsqueeze(1)).exp_().mul_(-grad);
      p.scatter_add_(1, targets.narrow(0, first, n).unsqueeze(1), grad.contiguous());
      const Tensor d_logits = p.to(type);
      d_hidden.narrow(0, first, n).copy_(d_logits.mm(matrix));
      if (d_output.defined()) d_output.add_(d_logits.t().mm(x));
    }
    return {d_hidden, d_output, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor PiecewiseLogProbs(const Tensor& hidden, const Tensor& output, const Tensor& targets,
                         torch::ScalarType compute) {
  return LogProbsFunction::apply(hidden, output, targets, static_cast<int64_t>(compute));
}

}  // namespace mixtral::train
