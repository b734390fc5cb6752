// SPDX-License-Identifier: Apache-2.0
// The mixture of experts: route, run the chosen experts on their tokens, sum per token. Experts
// come in waves from the ExpertStore; the tiles of all experts of a wave form one list, so that
// skewed routing leaves no worker idle. A token's sum runs over ascending expert ids whatever the
// waves were.
#include <algorithm>
#include <limits>

#include "backend/cpu/ops.h"
#include "base/check.h"

namespace mixtral::cpu {
namespace {

using kernels::kTileRows;

/// Which activation forms of x are ready in the workspace.
class InputForms {
 public:
  InputForms(Context& context, Activation x) : context_(context), x_(x) {}
  void Need(const kernels::MatrixSlots& slots) {
    bool& have = have_[static_cast<size_t>(slots.act_form)];
    if (!have) QuantizeRows(context_, slots, x_);
    have = true;
  }

 private:
  Context& context_;
  Activation x_;
  std::array<bool, kNumForms> have_{};
};

/// Router logits with f32 activations in every mode: a wrong expert costs more than the whole
/// router. One job per 64 rows, for a router is a single tile.
void ComputeRouterLogits(Context& context, const MoeFfnArgs& args, InputForms& forms) {
  const kernels::MatrixSlots& slots =
      context.kernels->Matrix(kernels::Compute::kExact, args.router.dtype);
  forms.Need(slots);
  const auto n_tokens = static_cast<int>(args.x.rows);
  size_t n_jobs = 0;
  for (int t = 0; t < n_tokens; t += kSlotChunk) {
    TileJob& job = context.work->jobs[n_jobs++];
    job = JobOver(context, args.router, slots);
    job.acts += static_cast<size_t>(t) * job.act_stride;
    job.n_tokens = std::min(kSlotChunk, n_tokens - t);
    job.out = args.router_logits.Row(t);
    job.out_stride = args.router_logits.stride;
  }
  RunJobs(context, std::span(context.work->jobs).first(n_jobs));
}

Routing ChooseExperts(Context& context, const MoeFfnArgs& args, InputForms& forms) {
  if (args.router.empty()) return context.work->routing.RouteDense(static_cast<int>(args.x.rows));
  Check(args.router.rows == context.setup.n_experts && args.router.cols == args.x.cols &&
            args.router_logits.rows == args.x.rows && args.router_logits.cols == args.router.rows,
        "MoeFfn: router shapes");
  ComputeRouterLogits(context, args, forms);
  return context.work->routing.Route(args.router_logits, args.experts_per_token, args.row_policies);
}

/// The active experts, ascending, and both maps between slots and the expert order.
std::span<const int32_t> ListActive(Workspace& work, const Routing& routing) {
  const auto k = static_cast<int32_t>(routing.expert_ids.cols);
  Check(routing.slots.size() <= static_cast<size_t>(work.max_slots), "MoeFfn: slots as sized");
  for (size_t position = 0; position < routing.slots.size(); ++position) {
    work.token_of[position] = routing.slots[position] / k;
    work.position_of[routing.slots[position]] = static_cast<int32_t>(position);
  }
  size_t n = 0;
  for (size_t e = 0; e + 1 < routing.offsets.size(); ++e)
    if (routing.offsets[e + 1] > routing.offsets[e]) work.active[n++] = static_cast<int32_t>(e);
  return {work.active, n};
}

void CheckExpert(const Context& context, const ExpertWeights& weights) {
  const int64_t dim = context.setup.dim, ffn_dim = context.setup.ffn_dim;
  Check(weights.gate.rows == ffn_dim && weights.gate.cols == dim && weights.up.rows == ffn_dim &&
            weights.up.cols == dim && weights.down.rows == dim && weights.down.cols == ffn_dim,
        "MoeFfn: expert shapes");
}

/// Gate, up and SiLU of one tile for all slots of an expert, in chunks that stay in cache.
void GateUpTile(const Context& context, const ExpertJob& job, int tile_idx,
                const WorkerScratch& scratch) noexcept {
  const Workspace& work = *context.work;
  const TileView tile = ViewTile(job.gate, tile_idx);
  LoadTile(job.gate, tile, scratch.tile[0]);
  LoadTile(job.up, tile, scratch.tile[1]);
  for (int t = 0; t < job.gate.n_tokens; t += kSlotChunk) {
    const int n = std::min(kSlotChunk, job.gate.n_tokens - t);
    ApplyTile(job.gate, tile, scratch.tile[0], t, n, scratch.gate, kTileRows);
    ApplyTile(job.up, tile, scratch.tile[1], t, n, scratch.up, kTileRows);
    // Always over whole rows of 16, so that an element's place in a vector never depends on n.
    context.kernels->silu_mul.fn(scratch.gate, scratch.up, n * kTileRows, scratch.gate);
    for (int i = 0; i < n; ++i)
      std::copy_n(scratch.gate + i * kTileRows, tile.n_rows,
                  work.h + (job.begin + t + i) * work.h_stride + tile.first_row);
  }
}

/// h = silu(gate x) * (up x) for every slot of the wave.
void RunGateUp(Context& context, const Routing& routing, std::span<const ExpertLease> wave,
               InputForms& forms) {
  Workspace& work = *context.work;
  const std::span<ExpertJob> jobs = std::span(work.expert_jobs).first(wave.size());
  const int n_tiles = (context.setup.ffn_dim + kTileRows - 1) / kTileRows;
  int n_tasks = 0;
  for (size_t i = 0; i < wave.size(); ++i) {
    const auto e = static_cast<size_t>(wave[i].expert_id);
    ExpertJob& job = jobs[i];
    job.begin = routing.offsets[e];
    const int n_tokens = routing.offsets[e + 1] - job.begin;
    const auto matrix_job = [&](const WeightRef& weight) {
      const kernels::MatrixSlots& slots = context.Slots(weight.dtype);
      forms.Need(slots);
      TileJob half = JobOver(context, weight, slots);
      half.act_rows = work.token_of + job.begin;
      half.n_tokens = n_tokens;
      return half;
    };
    job.gate = matrix_job(wave[i].weights.gate);
    job.up = matrix_job(wave[i].weights.up);
    job.tiles_per_task = TilesPerTask(context, wave[i].weights.gate, n_tokens, 2);
    job.first_task = n_tasks;
    n_tasks += (n_tiles + job.tiles_per_task - 1) / job.tiles_per_task;
  }
  RunTasks(context, n_tasks, [&](int task, int worker) noexcept {
    const auto after =
        std::upper_bound(jobs.begin(), jobs.end(), task,
                         [](int t, const ExpertJob& job) { return t < job.first_task; });
    const ExpertJob& job = *(after - 1);
    const int begin = (task - job.first_task) * job.tiles_per_task;
    const int end = std::min(n_tiles, begin + job.tiles_per_task);
    for (int tile = begin; tile < end; ++tile)
      GateUpTile(context, job, tile, work.workers[static_cast<size_t>(worker)]);
  });
}

/// Brings the wave's rows of h into the form that each expert's down matrix multiplies. f32 rows
/// are that form already.
void QuantizeHidden(Context& context, const Routing& routing, std::span<const ExpertLease> wave) {
  Workspace& work = *context.work;
  for (const ExpertLease& lease : wave) {
    const kernels::MatrixSlots& slots = context.Slots(lease.weights.down.dtype);
    if (slots.act_form == kernels::ActForm::kF32) continue;
    const size_t stride = LayoutOf(slots.act_form, context.setup.ffn_dim).row_bytes;
    const auto e = static_cast<size_t>(lease.expert_id);
    const int first = routing.offsets[e], n = routing.offsets[e + 1] - first;
    std::byte* acts = work.h_acts + static_cast<size_t>(first) * work.h_act_stride;
    ForRows(context, n, context.setup.ffn_dim, [&](int64_t begin, int64_t end, int) noexcept {
      slots.quantize_rows.fn({.x = work.h + (first + begin) * work.h_stride,
                              .x_stride = work.h_stride,
                              .out = acts + static_cast<size_t>(begin) * stride,
                              .n_rows = static_cast<int>(end - begin),
                              .cols = context.setup.ffn_dim});
    });
  }
}

/// y = down h for every slot of the wave.
void RunDown(Context& context, const Routing& routing, std::span<const ExpertLease> wave) {
  Workspace& work = *context.work;
  const std::span<TileJob> jobs = std::span(work.jobs).first(wave.size());
  for (size_t i = 0; i < wave.size(); ++i) {
    const kernels::MatrixSlots& slots = context.Slots(wave[i].weights.down.dtype);
    const auto e = static_cast<size_t>(wave[i].expert_id);
    const int first = routing.offsets[e];
    jobs[i] = JobOver(context, wave[i].weights.down, slots);
    if (slots.act_form == kernels::ActForm::kF32) {
      jobs[i].acts = reinterpret_cast<const std::byte*>(work.h + first * work.h_stride);
      jobs[i].act_stride = static_cast<size_t>(work.h_stride) * sizeof(float);
    } else {
      jobs[i].acts = work.h_acts + static_cast<size_t>(first) * work.h_act_stride;
    }
    jobs[i].n_tokens = routing.offsets[e + 1] - first;
    jobs[i].out = work.y + int64_t{first} * context.setup.dim;
    jobs[i].out_stride = context.setup.dim;
  }
  RunJobs(context, jobs);
}

/// out[t] = sum of weight * y over the token's experts in ascending order of their ids.
void SumToken(const Context& context, const Routing& routing, int64_t t, float* out) noexcept {
  const int dim = context.setup.dim;
  const int64_t k = routing.expert_ids.cols;
  std::fill_n(out, dim, 0.0f);
  for (int32_t previous = -1;;) {
    int64_t next = -1;  // the smallest id above previous
    for (int64_t i = 0; i < k; ++i) {
      const int32_t id = routing.expert_ids.At(t, i);
      if (id > previous && (next < 0 || id < routing.expert_ids.At(t, next))) next = i;
    }
    if (next < 0) return;
    previous = routing.expert_ids.At(t, next);
    const int64_t position = context.work->position_of[t * k + next];
    context.kernels->add_scaled.fn(context.work->y + position * dim, routing.weights.At(t, next),
                                   dim, out);
  }
}

}  // namespace

Routing MoeFfn(Context& context, const MoeFfnArgs& args) {
  Check(context.work.has_value() && args.x.rows <= context.work->max_rows,
        "MoeFfn: batch as sized");
  Check(args.x.cols == context.setup.dim && args.out.rows == args.x.rows &&
            args.out.cols == args.x.cols,
        "MoeFfn: shapes");
  Workspace& work = *context.work;
  InputForms forms(context, args.x);
  const Routing routing = ChooseExperts(context, args, forms);
  const std::span<const int32_t> active = ListActive(work, routing);
  args.store->Begin(args.layer, active);
  size_t n_done = 0;
  while (const int n = args.store->NextWave(work.leases)) {
    const std::span<const ExpertLease> wave =
        std::span<const ExpertLease>(work.leases).first(static_cast<size_t>(n));
    for (const ExpertLease& lease : wave) CheckExpert(context, lease.weights);
    RunGateUp(context, routing, wave, forms);
    QuantizeHidden(context, routing, wave);
    RunDown(context, routing, wave);
    n_done += wave.size();
  }
  Check(n_done == active.size(), "MoeFfn: the store handed out every expert");
  ForRows(context, args.x.rows, args.x.cols * routing.expert_ids.cols,
          [&](int64_t begin, int64_t end, int) noexcept {
            for (int64_t t = begin; t < end; ++t) SumToken(context, routing, t, args.out.Row(t));
          });
  return routing;
}

}  // namespace mixtral::cpu
