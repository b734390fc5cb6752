// SPDX-License-Identifier: Apache-2.0
// Blocks of queries against all keys up to them. The forward pass keeps the log of each row's sum;
// the backward pass rebuilds the probabilities from it (Dao et al. 2022, without the tiling of
// keys).
#include "train/attention.h"

#include <algorithm>
#include <cmath>

namespace mixtral::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kBlockScores = int64_t{1} << 22;  // scores alive at once: 16 MiB

/// n neighbouring segments of one length.
struct Group {
  int64_t begin, n, length;
};

std::vector<Group> Groups(const std::vector<int64_t>& spans) {
  std::vector<Group> groups;
  for (size_t i = 0; i < spans.size(); i += 2) {
    const int64_t begin = spans[i], length = spans[i + 1];
    if (length == 0) continue;
    Group* last = groups.empty() ? nullptr : &groups.back();
    if (last != nullptr && last->length == length && last->begin + last->n * length == begin &&
        (last->n + 1) * length * length < kBlockScores)
      ++last->n;
    else
      groups.push_back({begin, 1, length});
  }
  return groups;
}

/// One group's rows of x [N, heads, P] as [n * G, R, length, P], heads = G * R.
Tensor Heads(const Tensor& x, const Group& group, int64_t n_kv) {
  const int64_t per_kv = x.size(1) / n_kv, dim = x.size(2);
  return x.narrow(0, group.begin, group.n * group.length)
      .view({group.n, group.length, n_kv, per_kv, dim})
      .permute({0, 2, 3, 1, 4})
      .reshape({group.n * n_kv, per_kv, group.length, dim});
}

/// The inverse: writes [n * G, R, length, P] to the group's rows of out.
void StoreHeads(const Tensor& heads, const Group& group, int64_t n_kv, const Tensor& out) {
  const int64_t per_kv = out.size(1) / n_kv, dim = out.size(2);
  out.narrow(0, group.begin, group.n * group.length)
      .view({group.n, group.length, n_kv, per_kv, dim})
      .copy_(heads.view({group.n, n_kv, per_kv, group.length, dim}).permute({0, 3, 1, 2, 4}));
}

int64_t QueriesPerBlock(const Group& group, int64_t n_heads) {
  return std::clamp(kBlockScores / (group.n * n_heads * group.length), int64_t{1}, group.length);
}

/// Queries [first, first + n) of heads [B, R, T, P] as [B, R * n, P].
Tensor QueryBlock(const Tensor& heads, int64_t first, int64_t n) {
  return heads.narrow(2, first, n).reshape({heads.size(0), heads.size(1) * n, heads.size(3)});
}

/// Scaled scores [B, R, n, first + n] with the future at minus infinity.
Tensor Scores(const Tensor& q, const Tensor& keys, int64_t first, int64_t n, double scale) {
  const int64_t n_keys = first + n;
  const Tensor block = QueryBlock(q, first, n);
  Tensor scores = block.bmm(keys.narrow(1, 0, n_keys).transpose(1, 2)).mul_(scale);
  scores = scores.view({q.size(0), q.size(1), n, n_keys});
  const Tensor future = torch::ones({n, n_keys}, q.options().dtype(torch::kBool)).triu_(first + 1);
  return scores.masked_fill_(future, -INFINITY);
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                        const std::vector<int64_t>& spans) {
    const int64_t n_kv = k.size(1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
    Tensor out = torch::zeros_like(q);
    Tensor log_sum = torch::zeros({q.size(0), q.size(1), 1}, q.options());
    for (const Group& group : Groups(spans)) {
      const Tensor qh = Heads(q, group, n_kv);
      const Tensor kh = Heads(k, group, n_kv).squeeze(1), vh = Heads(v, group, n_kv).squeeze(1);
      Tensor oh = torch::empty_like(qh);
      Tensor lh = torch::empty({qh.size(0), qh.size(1), qh.size(2), 1}, q.options());
      const int64_t step = QueriesPerBlock(group, q.size(1));
      for (int64_t first = 0; first < group.length; first += step) {
        const int64_t n = std::min(step, group.length - first);
        const Tensor scores = Scores(qh, kh, first, n, scale);
        const Tensor sums = scores.logsumexp(3, true);
        const Tensor p = (scores - sums).exp_();
        oh.narrow(2, first, n)
            .copy_(p.view({p.size(0), -1, first + n})
                       .bmm(vh.narrow(1, 0, first + n))
                       .view({p.size(0), p.size(1), n, -1}));
        lh.narrow(2, first, n).copy_(sums);
      }
      StoreHeads(oh, group, n_kv, out);
      StoreHeads(lh, group, n_kv, log_sum);
    }
    ctx->save_for_backward({q, k, v, out, log_sum});
    ctx->saved_data["spans"] = spans;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const int64_t n_kv = k.size(1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
    const Tensor d_out = grads[0].contiguous();
    const Tensor delta = (d_out * saved[3]).sum(2, true);  // [N, H, 1]
    Tensor dq = torch::zeros_like(q), dk = torch::zeros_like(k), dv = torch::zeros_like(v);
    for (const Group& group : Groups(ctx->saved_data["spans"].toIntVector())) {
      const Tensor qh = Heads(q, group, n_kv), doh = Heads(d_out, group, n_kv);
      const Tensor lh = Heads(saved[4], group, n_kv), deltah = Heads(delta, group, n_kv);
      const Tensor kh = Heads(k, group, n_kv).squeeze(1), vh = Heads(v, group, n_kv).squeeze(1);
      Tensor dqh = torch::empty_like(qh), dkh = torch::zeros_like(kh), dvh = torch::zeros_like(vh);
      const int64_t step = QueriesPerBlock(group, q.size(1));
      for (int64_t first = 0; first < group.length; first += step) {
        const int64_t n = std::min(step, group.length - first), n_keys = first + n;
        const Tensor p = Scores(qh, kh, first, n, scale).sub_(lh.narrow(2, first, n)).exp_();
        const Tensor flat_p = p.view({p.size(0), -1, n_keys});
        const Tensor dob = QueryBlock(doh, first, n);
        dvh.narrow(1, 0, n_keys).baddbmm_(flat_p.transpose(1, 2), dob);
        Tensor ds = dob.bmm(vh.narrow(1, 0, n_keys).transpose(1, 2)).view(p.sizes());
        ds = ds.sub_(deltah.narrow(2, first, n)).mul_(p).mul_(scale).view({p.size(0), -1, n_keys});
        dqh.narrow(2, first, n)
            .copy_(ds.bmm(kh.narrow(1, 0, n_keys)).view({p.size(0), p.size(1), n, -1}));
        dkh.narrow(1, 0, n_keys).baddbmm_(ds.transpose(1, 2), QueryBlock(qh, first, n));
      }
      StoreHeads(dqh, group, n_kv, dq);
      StoreHeads(dkh.unsqueeze(1), group, n_kv, dk);
      StoreHeads(dvh.unsqueeze(1), group, n_kv, dv);
    }
    return {dq, dk, dv, Tensor()};
  }
};

}  // namespace

RopeTables MakeRopeTables(const std::vector<Segment>& segments, int head_dim, double theta) {
  std::vector<Tensor> positions = {torch::empty({0}, torch::kFloat64)};
  int64_t next = 0;
  for (const Segment& segment : segments) {
    if (segment.begin != next)
      Throw(ErrorCode::kInternal, "segments: expected row {}, found {}", next, segment.begin);
    positions.push_back(torch::arange(segment.first_position,
                                      segment.first_position + segment.length, torch::kFloat64));
    next += segment.length;
  }
  const Tensor pairs = torch::arange(head_dim / 2, torch::kFloat64);
  const Tensor frequency = torch::exp(pairs * (-2.0 * std::log(theta) / head_dim));
  const Tensor angle = torch::outer(torch::cat(positions), frequency).unsqueeze(1);
  return {angle.cos().to(torch::kFloat32), angle.sin().to(torch::kFloat32)};
}

Tensor ApplyRope(const Tensor& x, const RopeTables& tables) {
  const std::vector<Tensor> halves = x.chunk(2, 2);
  return torch::cat({halves[0] * tables.cos - halves[1] * tables.sin,
                     halves[1] * tables.cos + halves[0] * tables.sin},
                    2);
}

Tensor CausalAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                       const std::vector<Segment>& segments) {
  std::vector<int64_t> spans;
  for (const Segment& segment : segments) {
    spans.push_back(segment.begin);
    spans.push_back(segment.length);
  }
  return AttentionFunction::apply(q.contiguous(), k.contiguous(), v.contiguous(), spans);
}

}  // namespace mixtral::train
