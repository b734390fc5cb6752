// SPDX-License-Identifier: Apache-2.0
// Three autograd functions: gather, grouped experts, combine. Scatter-adds are written as gathers
// by the inverse permutation, which need no atomics and always add in the same order.
#include "train/moe_layer.h"

#include <numeric>

namespace mixtral::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// [N*K, D] in the order of (token, k) -> [N, D]
Tensor SumSlots(const Tensor& rows, const Tensor& row_of, int64_t n_tokens) {
  const int64_t k = n_tokens == 0 ? 1 : row_of.size(0) / n_tokens;
  return rows.index_select(0, row_of).view({n_tokens, k, rows.size(1)}).sum(1);
}

class GatherFunction : public torch::autograd::Function<GatherFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& token_of,
                        const Tensor& row_of) {
    ctx->save_for_backward({row_of});
    ctx->saved_data["n"] = x.size(0);
    return x.index_select(0, token_of);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor row_of = ctx->get_saved_variables()[0];
    return {SumSlots(grads[0], row_of, ctx->saved_data["n"].toInt()), Tensor(), Tensor()};
  }
};

class CombineFunction : public torch::autograd::Function<CombineFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& rows, const Tensor& weights,
                        const Tensor& token_of, const Tensor& slot_of, const Tensor& row_of) {
    ctx->save_for_backward({rows, weights, token_of, slot_of, row_of});
    const Tensor by_slot =
        rows.index_select(0, row_of).view({weights.size(0), weights.size(1), rows.size(1)});
    return by_slot.mul_(weights.unsqueeze(2)).sum(1);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &rows = saved[0], &weights = saved[1], &token_of = saved[2], &slot_of = saved[3],
                 &row_of = saved[4];
    Tensor per_row = grads[0].index_select(0, token_of);
    const Tensor d_weights = (per_row * rows).sum(1).index_select(0, row_of).view(weights.sizes());
    per_row.mul_(weights.reshape({-1}).index_select(0, slot_of).unsqueeze(1));
    return {per_row, d_weights, Tensor(), Tensor(), Tensor()};
  }
};

/// Gate and up are one product of twice the width: fewer and larger GEMMs are worth the copy.
Tensor GateUp(const Tensor& gate, const Tensor& up, torch::ScalarType type) {
  return torch::cat({gate.to(type), up.to(type)});
}

class GroupedFunction : public torch::autograd::Function<GroupedFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& rows, at::TensorList weights,
                        const std::vector<int64_t>& counts, int64_t compute) {
    const auto type = static_cast<torch::ScalarType>(compute);
    const size_t n_experts = counts.size();
    const Tensor x = rows.to(type);
    const int64_t ffn = n_experts == 0 ? 0 : weights[0].size(0);
    const Tensor gate_up = torch::empty({x.size(0), 2 * ffn}, x.options());
    const Tensor out = torch::empty({x.size(0), x.size(1)}, x.options());
    int64_t begin = 0;
    for (size_t e = 0; e < n_experts; begin += counts[e++]) {
      if (counts[e] == 0) continue;
      Tensor both = gate_up.narrow(0, begin, counts[e]);
      torch::mm_out(both, x.narrow(0, begin, counts[e]),
                    GateUp(weights[e], weights[n_experts + e], type).t());
      const Tensor hidden = torch::silu(both.narrow(1, 0, ffn)).mul_(both.narrow(1, ffn, ffn));
      Tensor part = out.narrow(0, begin, counts[e]);
      torch::mm_out(part, hidden, weights[2 * n_experts + e].to(type).t());
    }
    variable_list saved = {x, gate_up};
    saved.insert(saved.end(), weights.begin(), weights.end());
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["counts"] = counts;
    ctx->saved_data["compute"] = compute;
    return out.to(rows.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const std::vector<int64_t> counts = ctx->saved_data["counts"].toIntVector();
    const auto type = static_cast<torch::ScalarType>(ctx->saved_data["compute"].toInt());
    const size_t n_experts = counts.size();
    const int64_t ffn = saved[1].size(1) / 2;
    const Tensor d_out = grads[0].to(type);
    const Tensor d_rows = torch::empty_like(saved[0]);
    variable_list result(3 * n_experts + 3);  // rows, the weights, counts, compute
    int64_t begin = 0;
    for (size_t e = 0; e < n_experts; begin += counts[e++]) {
      if (counts[e] == 0) continue;
      const Tensor x = saved[0].narrow(0, begin, counts[e]);
      const Tensor gate_up = saved[1].narrow(0, begin, counts[e]);
      const Tensor gate = gate_up.narrow(1, 0, ffn), up = gate_up.narrow(1, ffn, ffn);
      const Tensor d_part = d_out.narrow(0, begin, counts[e]);
      const auto weight = [&](size_t which) { return saved[2 + which * n_experts + e]; };
      const auto own_type = [&](const Tensor& d) { return d.to(weight(0).scalar_type()); };
      const Tensor d_hidden = d_part.mm(weight(2).to(type));
      const Tensor sigmoid = torch::sigmoid(gate);
      const Tensor silu = gate * sigmoid;
      if (weight(2).requires_grad())
        result[1 + 2 * n_experts + e] = own_type(d_part.t().mm(silu * up));
      const Tensor d_both = torch::empty_like(gate_up);
      Tensor d_gate = d_both.narrow(1, 0, ffn), d_up = d_both.narrow(1, ffn, ffn);
      torch::mul_out(d_up, d_hidden, silu);
      // d silu(g) = s + g s (1 - s) = s (1 + g - g s)
      torch::mul_out(d_gate, d_hidden, up);
      d_gate.mul_(sigmoid).addcmul_(d_gate, gate - silu);
      if (weight(0).requires_grad() || weight(1).requires_grad()) {
        const Tensor d_weights = own_type(d_both.t().mm(x));
        if (weight(0).requires_grad()) result[1 + e] = d_weights.narrow(0, 0, ffn);
        if (weight(1).requires_grad()) result[1 + n_experts + e] = d_weights.narrow(0, ffn, ffn);
      }
      Tensor d_x = d_rows.narrow(0, begin, counts[e]);
      torch::mm_out(d_x, d_both, GateUp(weight(0), weight(1), type));
    }
    result[0] = d_rows.to(grads[0].scalar_type());
    return result;
  }
};

}  // namespace

Dispatch GroupByExpert(const Tensor& ids, int64_t n_experts) {
  const Tensor host = ids.to(torch::kCPU).contiguous();
  const int64_t n_slots = host.numel(), k = host.size(1);
  const int64_t* id = host.data_ptr<int64_t>();
  Dispatch dispatch;
  dispatch.counts.assign(static_cast<size_t>(n_experts), 0);
  for (int64_t i = 0; i < n_slots; ++i) {
    if (id[i] < 0 || id[i] >= n_experts)
      Throw(ErrorCode::kInternal, "expert id: expected 0..{}, found {}", n_experts - 1, id[i]);
    ++dispatch.counts[static_cast<size_t>(id[i])];
  }
  std::vector<int64_t> next(dispatch.counts.size(), 0);
  for (size_t e = 1; e < next.size(); ++e) next[e] = next[e - 1] + dispatch.counts[e - 1];
  dispatch.token_of = torch::empty({n_slots}, host.options());
  dispatch.slot_of = torch::empty({n_slots}, host.options());
  dispatch.row_of = torch::empty({n_slots}, host.options());
  for (int64_t i = 0; i < n_slots; ++i) {
    const int64_t row = next[static_cast<size_t>(id[i])]++;
    dispatch.token_of.data_ptr<int64_t>()[row] = i / k;
    dispatch.slot_of.data_ptr<int64_t>()[row] = i;
    dispatch.row_of.data_ptr<int64_t>()[i] = row;
  }
  for (Tensor* index : {&dispatch.token_of, &dispatch.slot_of, &dispatch.row_of})
    *index = index->to(ids.device());
  return dispatch;
}

Tensor GatherRows(const Tensor& x, const Dispatch& dispatch) {
  return GatherFunction::apply(x, dispatch.token_of, dispatch.row_of);
}

Tensor GroupedExperts(const Tensor& rows, const std::vector<int64_t>& counts,
                      const ExpertTensors& experts, torch::ScalarType compute) {
  if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) != rows.size(0) ||
      counts.size() != experts.gate.size())
    Throw(ErrorCode::kInternal, "grouped experts: counts do not fit the rows or the experts");
  std::vector<Tensor> weights = experts.gate;
  weights.insert(weights.end(), experts.up.begin(), experts.up.end());
  weights.insert(weights.end(), experts.down.begin(), experts.down.end());
  return GroupedFunction::apply(rows, at::TensorList(weights), counts,
                                static_cast<int64_t>(compute));
}

Tensor CombineRows(const Tensor& rows, const Tensor& weights, const Dispatch& dispatch) {
  return CombineFunction::apply(rows, weights, dispatch.token_of, dispatch.slot_of,
                                dispatch.row_of);
}

Tensor DroplessExperts(const Tensor& x, const Tensor& ids, const Tensor& weights,
                       const ExpertTensors& experts, torch::ScalarType compute) {
  const Dispatch dispatch = GroupByExpert(ids, static_cast<int64_t>(experts.gate.size()));
  const Tensor rows = GatherRows(x, dispatch);
  return CombineRows(GroupedExperts(rows, dispatch.counts, experts, compute), weights, dispatch);
}

Tensor NaiveExperts(const Tensor& x, const Tensor& ids, const Tensor& weights,
                    const ExpertTensors& experts) {
  Tensor out = torch::zeros_like(x);
  for (size_t e = 0; e < experts.gate.size(); ++e) {
    const std::vector<Tensor> where = (ids == static_cast<int64_t>(e)).nonzero().unbind(1);
    if (where[0].numel() == 0) continue;
    const Tensor xe = x.index({where[0]});
    const Tensor hidden = torch::silu(xe.mm(experts.gate[e].t())) * xe.mm(experts.up[e].t());
    const Tensor weighted =
        hidden.mm(experts.down[e].t()) * weights.index({where[0], where[1]}).unsqueeze(1);
    out = out.index_add(0, where[0], weighted);
  }
  return out;
}

}  // namespace mixtral::train
