// SPDX-License-Identifier: Apache-2.0
// The layer's closure travels through the autograd context as a holder; outputs that are no
// floating-point functions of the input (counts, ids) are marked as such.
#include "train/layer_call.h"

#include <memory>
#include <utility>

namespace mixtral::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Closure : torch::CustomClassHolder {
  explicit Closure(LayerFunction function) : run(std::move(function)) {}
  LayerFunction run;
};

class CheckpointFunction : public torch::autograd::Function<CheckpointFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden, at::TensorList leaves,
                               const c10::intrusive_ptr<Closure>& closure) {
    variable_list saved = {hidden};
    saved.insert(saved.end(), leaves.begin(), leaves.end());
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["closure"] =
        c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(closure));
    variable_list outputs = closure->run(hidden);
    variable_list plain;
    for (Tensor& output : outputs) {
      if (!output.defined()) output = torch::empty({0});
      if (!output.is_floating_point() || output.scalar_type() == torch::kFloat64)
        plain.push_back(output);
    }
    ctx->mark_non_differentiable(plain);
    ctx->set_materialize_grads(false);
    return outputs;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto holder = ctx->saved_data["closure"].toCapsule();
    const auto* closure = dynamic_cast<Closure*>(holder.get());
    const Tensor hidden = saved[0].detach().set_requires_grad(true);
    variable_list inputs(saved.begin(), saved.end());
    inputs[0] = hidden;
    variable_list outputs, output_grads;
    {
      torch::AutoGradMode enabled(true);
      const variable_list all = closure->run(hidden);
      for (size_t i = 0; i < all.size(); ++i) {
        if (!grads[i].defined() || !all[i].defined() || !all[i].requires_grad()) continue;
        outputs.push_back(all[i]);
        output_grads.push_back(grads[i]);
      }
    }
    variable_list result = torch::autograd::grad(outputs, inputs, output_grads, c10::nullopt, false,
                                                 /*allow_unused=*/true);
    result.emplace_back();  // the closure
    return result;
  }
};

}  // namespace

std::vector<Tensor> RunCheckpointed(const LayerFunction& run, const Tensor& hidden,
                                    const std::vector<Tensor>& leaves) {
  return CheckpointFunction::apply(hidden, at::TensorList(leaves),
                                   c10::make_intrusive<Closure>(run));
}

}  // namespace mixtral::train
