// SPDX-License-Identifier: Apache-2.0
// Three autograd functions (gather, grouped experts, combine) for any type and device, and one that
// is all of them for f32 on the CPU (expert_kernel.h). Scatter-adds are written as gathers by the
// inverse permutation, which need no atomics and always add in the same order.
#include "train/moe_layer.h"

#include <limits>
#include <numeric>

#include "train/expert_kernel.h"

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

void RunOnThreads(int n, const std::function<void(int)>& fn) {
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) fn(static_cast<int>(worker));
  });
}

int NumWorkers() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

/// x [N, D], weights [N, K], index tensors and 3 E matrices; all f32 on the CPU.
class FusedFunction : public torch::autograd::Function<FusedFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weights,
                        at::TensorList matrices, const Dispatch& dispatch) {
    const int64_t ffn = matrices[0].size(0);
    variable_list saved = {x.contiguous(),    weights.contiguous(), Tensor(),
                           dispatch.token_of, dispatch.slot_of,     dispatch.row_of};
    saved[2] = torch::empty({dispatch.token_of.size(0), 2 * ffn}, x.options());
    saved.insert(saved.end(), matrices.begin(), matrices.end());
    const Tensor out = torch::empty({x.size(0), x.size(1)}, x.options());
    const variable_list plain = Contiguous(saved);
    ExpertsForward(Rows(saved, dispatch.counts), Weights(plain), saved[0].data_ptr<float>(),
                   saved[1].data_ptr<float>(), saved[2].data_ptr<float>(), out.data_ptr<float>(),
                   NumWorkers(), RunOnThreads);
    ctx->saved_data["counts"] = dispatch.counts;
    ctx->save_for_backward(std::move(saved));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const std::vector<int64_t> counts = ctx->saved_data["counts"].toIntVector();
    const size_t n_experts = counts.size();
    const int64_t ffn = saved[2].size(1) / 2, dim = saved[0].size(1);
    variable_list result(3 * n_experts + 3);  // x, weights, the matrices, the dispatch
    std::vector<ExpertGradients> wanted(n_experts);
    for (size_t e = 0; e < n_experts; ++e) {
      if (counts[e] == 0) continue;
      const auto needs = [&](size_t which) {
        return saved[kMatrices + which * n_experts + e].requires_grad();
      };
      if (needs(0) || needs(1)) {
        const Tensor both = torch::empty({2 * ffn, dim}, saved[0].options());
        wanted[e].gate_up = both.data_ptr<float>();
        if (needs(0)) result[2 + e] = both.narrow(0, 0, ffn);
        if (needs(1)) result[2 + n_experts + e] = both.narrow(0, ffn, ffn);
      }
      if (needs(2)) {
        result[2 + 2 * n_experts + e] = torch::empty({dim, ffn}, saved[0].options());
        wanted[e].down = result[2 + 2 * n_experts + e].data_ptr<float>();
      }
    }
    const Tensor d_out = grads[0].contiguous();
    result[0] = torch::empty_like(saved[0]);
    result[1] = torch::empty_like(saved[1]);
    ExpertsBackward(
        Rows(saved, counts), Weights(Contiguous(saved)), wanted, saved[0].data_ptr<float>(),
        saved[1].data_ptr<float>(), saved[2].data_ptr<float>(), d_out.data_ptr<float>(),
        result[0].data_ptr<float>(), result[1].data_ptr<float>(), NumWorkers(), RunOnThreads);
    return result;
  }

 private:
  static constexpr size_t kMatrices = 6;  // where they begin among the saved tensors

  static variable_list Contiguous(const variable_list& saved) {
    variable_list plain;
    for (size_t i = kMatrices; i < saved.size(); ++i) plain.push_back(saved[i].contiguous());
    return plain;
  }

  static std::vector<ExpertWeights> Weights(const variable_list& matrices) {
    const size_t n = matrices.size() / 3;
    std::vector<ExpertWeights> weights;
    for (size_t e = 0; e < n; ++e)
      weights.push_back({matrices[e].data_ptr<float>(), matrices[n + e].data_ptr<float>(),
                         matrices[2 * n + e].data_ptr<float>()});
    return weights;
  }

  static ExpertRows Rows(const variable_list& saved, const std::vector<int64_t>& counts) {
    ExpertRows rows;
    rows.dim = saved[0].size(1);
    rows.ffn_dim = saved[2].size(1) / 2;
    rows.n_tokens = saved[0].size(0);
    rows.top_k = saved[1].size(1);
    rows.counts = &counts;
    rows.token_of = saved[3].data_ptr<int64_t>();
    rows.slot_of = saved[4].data_ptr<int64_t>();
    rows.row_of = saved[5].data_ptr<int64_t>();
    // BLAS counts in 32 bits.
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (rows.n_tokens * rows.top_k > kMost || 2 * rows.ffn_dim > kMost || rows.dim > kMost)
      Throw(ErrorCode::kUnsupported, "mixture: expected at most {} rows in a batch, found {}",
            kMost, rows.n_tokens * rows.top_k);
    return rows;
  }
};

std::vector<Tensor> MatrixList(const ExpertTensors& experts) {
  std::vector<Tensor> matrices = experts.gate;
  matrices.insert(matrices.end(), experts.up.begin(), experts.up.end());
  matrices.insert(matrices.end(), experts.down.begin(), experts.down.end());
  return matrices;
}

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
  return GroupedFunction::apply(rows, at::TensorList(MatrixList(experts)), counts,
                                static_cast<int64_t>(compute));
}

Tensor CombineRows(const Tensor& rows, const Tensor& weights, const Dispatch& dispatch) {
  return CombineFunction::apply(rows, weights, dispatch.token_of, dispatch.slot_of,
                                dispatch.row_of);
}

Tensor DroplessExperts(const Tensor& x, const Tensor& ids, const Tensor& weights,
                       const ExpertTensors& experts, torch::ScalarType compute) {
  const Dispatch dispatch = GroupByExpert(ids, static_cast<int64_t>(experts.gate.size()));
  if (compute == torch::kFloat32 && x.scalar_type() == torch::kFloat32 && x.is_cpu())
    return FusedFunction::apply(x, weights, at::TensorList(MatrixList(experts)), dispatch);
  const Tensor rows = GatherRows(x, dispatch);
  return CombineRows(GroupedExperts(rows, dispatch.counts, experts, compute), weights, dispatch);
}

Tensor NaiveExperts(const Tensor& x, const Tensor& ids, const Tensor& weights,
                    const ExpertTensors& experts) {
  const auto n_experts = static_cast<int64_t>(experts.gate.size());
  const Tensor out = torch::zeros_like(x);
  const Tensor mask = torch::one_hot(ids, n_experts).permute({2, 1, 0});  // [E, K, N]
  for (int64_t e = 0; e < n_experts; ++e) {
    const std::vector<Tensor> where = torch::where(mask[e]);  // slots, tokens
    const Tensor xe = x.index({where[1]});
    const auto i = static_cast<size_t>(e);
    if (xe.size(0) == 0) continue;
    const Tensor hidden = torch::silu(xe.mm(experts.gate[i].t())) * xe.mm(experts.up[i].t());
    const Tensor weighted =
        hidden.mm(experts.down[i].t()) * weights.index({where[1], where[0]}).unsqueeze(1);
    out.index_add_(0, where[1], weighted);
  }
  return out;
}

}  // namespace mixtral::train
