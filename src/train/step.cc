// SPDX-License-Identifier: Apache-2.0
// Divisors (predicted tokens, rows, pairs) are totals of the whole step, so every micro-batch's
// loss is a share and gradients simply add up. The balance loss needs the experts' choices of the
// whole step before its first gradient: they are summed over ranks after the forward pass, and with
// several micro-batches counted in a forward pass of their own.
#include "train/step.h"

#include <algorithm>
#include <cmath>

namespace mixtral::train {

struct StepRunner::Totals {
  int64_t n_targets = 0, n_rows = 0, n_pairs = 0;
  size_t n_micros = 0;
  int64_t first_row = 0;
  std::vector<int64_t> micro_first_row;
};

struct StepRunner::Sums {
  double ce = 0, dpo = 0, margin = 0, correct = 0, kl = 0, balance = 0, z = 0, total = 0;
  double entropy = 0;
  Tensor counts;
};

namespace {

int64_t Targets(const Document& document) {
  if (document.loss.empty()) return static_cast<int64_t>(document.tokens.size()) - 1;
  return std::count(document.loss.begin() + 1, document.loss.end(), uint8_t{1});
}

BalanceKind KindOf(const std::string& name) {
  return name == "per_layer" ? BalanceKind::kPerLayer
         : name == "pooled"  ? BalanceKind::kPooled
                             : BalanceKind::kNone;
}

}  // namespace

StepRunner::StepRunner(const TrainConfig& config, const World& world, Model* model,
                       const Model* reference)
    : config_(config),
      world_(world),
      model_(model),
      reference_(reference),
      exchange_(MakeExchange(world.expert_peers, model->config().n_experts)),
      trainables_(Trainables(*model, DecayRule::kMatrices)),
      optimizer_({config.beta1, config.beta2, config.eps, config.weight_decay}),
      compute_(config.precision == "bf16" ? torch::kBFloat16 : torch::kFloat32) {
  if (trainables_.empty())
    Throw(ErrorCode::kInvalidArgument, "expected something to train, found everything frozen");
  for (const Trainable& trainable : trainables_)
    local_.push_back(world.expert_peers->size() > 1 &&
                     trainable.name.find(".experts.") != std::string::npos);
  AssignOwners();
  if (config.bias_rate > 0)
    router_bias_.assign(static_cast<size_t>(model->config().n_layers), Tensor());
  for (Tensor& bias : router_bias_) bias = torch::zeros({model->config().n_experts});
}

Group& StepRunner::GroupOf(size_t trainable) const {
  return local_[trainable] ? *world_.replicas : *world_.all;
}

bool StepRunner::Owns(size_t trainable) const {
  return owner_[trainable] == GroupOf(trainable).rank();
}

/// Each tensor to the rank with the least so far, in the same order everywhere.
void StepRunner::AssignOwners() {
  std::vector<int64_t> shared_load(static_cast<size_t>(world_.all->size()), 0);
  std::vector<int64_t> local_load(static_cast<size_t>(world_.replicas->size()), 0);
  for (size_t i = 0; i < trainables_.size(); ++i) {
    std::vector<int64_t>& load = local_[i] ? local_load : shared_load;
    const auto least = std::min_element(load.begin(), load.end());
    *least += trainables_[i].value.numel();
    owner_.push_back(static_cast<int>(least - load.begin()));
  }
}

std::vector<StepRunner::Micro> StepRunner::Split(const std::vector<Window>& windows,
                                                 Totals* totals) const {
  const auto size = static_cast<size_t>(world_.size()), rank = static_cast<size_t>(world_.rank());
  const auto micro_size = static_cast<size_t>(config_.micro_batch);
  const size_t per_rank = (windows.size() + size - 1) / size;
  totals->n_micros = (per_rank + micro_size - 1) / micro_size;
  std::vector<Micro> micros(totals->n_micros);
  totals->micro_first_row.assign(totals->n_micros, 0);
  for (size_t w = 0; w < windows.size(); ++w) {
    // Neighbouring windows to one rank, so that a rank's rows are one stretch of the step's.
    const bool mine = w / per_rank == rank;
    Micro& micro = micros[w % per_rank / micro_size];
    if (mine && micro.empty()) totals->micro_first_row[w % per_rank / micro_size] = totals->n_rows;
    for (const Document& document : windows[w]) {
      totals->n_targets += Targets(document);
      totals->n_rows += static_cast<int64_t>(document.tokens.size());
    }
    ++totals->n_pairs;
    if (mine) micro.push_back(windows[w]);
  }
  return micros;
}

ForwardOptions StepRunner::Options(int64_t step) const {
  ForwardOptions options;
  options.compute = compute_;
  options.exchange = exchange_.get();
  options.checkpoint_activations = config_.checkpoint_activations && step > 0;
  options.jitter = step > 0 ? config_.jitter : 0;
  options.seed =
      static_cast<uint64_t>(config_.seed) * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(step);
  options.router_bias = router_bias_;
  options.keep_router_probs = config_.router_kl > 0;
  options.mixture = config_.mixture == "loop" ? MixtureKind::kLoop : MixtureKind::kDropless;
  return options;
}

/// Rows in the order of the windows; in dpo all chosen answers, then all rejected ones.
Batch StepRunner::ToBatch(const Micro& micro) const {
  std::vector<Sequence> sequences;
  if (config_.task == TaskKind::kDpo) {
    for (const size_t side : {size_t{0}, size_t{1}}) {
      for (const Window& pair : micro)
        sequences.push_back({pair[side].tokens, pair[side].loss, 0, 0});
    }
  } else {
    for (const Window& window : micro) {
      for (const Document& document : window)
        sequences.push_back({document.tokens, document.loss, 0, 0});
    }
  }
  return MakeBatch(sequences);
}

ForwardResult StepRunner::Reference(const Batch& batch, int64_t step) const {
  const torch::NoGradGuard no_grad;
  ForwardOptions options = Options(0);
  options.router_bias.clear();
  options.seed = static_cast<uint64_t>(step);
  return reference_->Forward(batch, options);
}

/// The step's choices: all ranks' sums.
StepRouting StepRunner::Share(const StepRouting& local, const Totals& totals) const {
  StepRouting shared;
  if (local.counts.defined()) {
    shared.counts = local.counts.clone();
    world_.all->AllReduceSum(shared.counts);
  }
  shared.n_rows = static_cast<double>(totals.n_rows);
  return shared;
}

StepRouting StepRunner::CountPass(const std::vector<Micro>& micros, const Totals& totals,
                                  int64_t step) const {
  const torch::NoGradGuard no_grad;
  StepRouting sum;
  for (size_t m = 0; m < micros.size(); ++m) {
    Batch batch = ToBatch(micros[m]);
    batch.first_row = totals.micro_first_row[m];
    ForwardOptions options = Options(step);
    if (config_.router == "reference")
      for (const RouterStats& router : Reference(batch, step).routers)
        options.forced_ids.push_back(router.ids);
    const StepRouting one = RoutingOf(model_->Forward(batch, options));
    sum.counts = sum.counts.defined() ? sum.counts + one.counts : one.counts;
  }
  return Share(sum, totals);
}

Tensor StepRunner::DpoLosses(const Batch& batch, const ForwardResult& forward,
                             const ForwardResult& reference, const Totals& totals,
                             Sums* sums) const {
  const Tensor policy = SumPerSegment(batch, BatchLogProbs(*model_, batch, forward, compute_));
  Tensor fixed;
  {
    const torch::NoGradGuard no_grad;
    fixed = SumPerSegment(batch, BatchLogProbs(*reference_, batch, reference, compute_));
  }
  const int64_t n = policy.size(0) / 2;
  const DpoResult result = DpoLoss({policy.narrow(0, 0, n), policy.narrow(0, n, n)},
                                   {fixed.narrow(0, 0, n), fixed.narrow(0, n, n)}, config_.dpo_beta,
                                   static_cast<double>(totals.n_pairs));
  sums->dpo += result.loss.item<double>();
  sums->margin += result.margins.sum().item<double>();
  sums->correct += (result.margins > 0).sum().item<double>();
  sums->ce -= policy.detach().sum().item<double>();
  if (config_.router_kl <= 0) return result.loss;
  const Tensor kl =
      RouterKl(forward.routers, reference.routers, static_cast<double>(totals.n_rows));
  sums->kl += kl.item<double>();
  return result.loss + config_.router_kl * kl;
}

Tensor StepRunner::Losses(const Batch& batch, const ForwardResult& forward,
                          const StepRouting& routing, const Totals& totals, Sums* sums) const {
  Tensor loss = torch::zeros({});
  if (config_.task != TaskKind::kDpo) {
    const Tensor ce = -BatchLogProbs(*model_, batch, forward, compute_).sum();
    sums->ce += ce.item<double>();
    loss = ce / static_cast<double>(std::max<int64_t>(totals.n_targets, 1));
  }
  if (forward.routers.empty()) return loss;
  const Tensor balance = BalanceLoss(KindOf(config_.balance), forward.routers, routing);
  const Tensor z = RouterZLoss(forward.routers, routing);
  sums->balance += balance.item<double>();
  sums->z += z.item<double>();
  for (const RouterStats& router : forward.routers)
    sums->entropy += router.entropy_sum.item<double>();
  return loss + config_.balance_coef * balance + config_.z_coef * z;
}

StepResult StepRunner::Run(const std::vector<Window>& windows, int64_t step, bool train,
                           bool stop) const {
  Totals totals;
  const std::vector<Micro> micros = Split(windows, &totals);
  const bool balanced = model_->config().n_experts > 0;
  StepRouting routing;
  if (balanced && train && micros.size() > 1) routing = CountPass(micros, totals, step);
  Sums sums;
  for (size_t m = 0; m < micros.size(); ++m) {
    Batch batch = ToBatch(micros[m]);
    batch.first_row = totals.micro_first_row[m];
    ForwardOptions options = Options(train ? step : 0);
    ForwardResult reference;
    if (config_.task == TaskKind::kDpo) {
      reference = Reference(batch, step);
      if (config_.router == "reference")
        for (const RouterStats& router : reference.routers)
          options.forced_ids.push_back(router.ids);
    }
    const ForwardResult forward = model_->Forward(batch, options);
    StepRouting local = RoutingOf(forward);
    if (balanced && train && micros.size() == 1) routing = Share(local, totals);
    if (balanced && !train) {
      routing = local;
      routing.n_rows = static_cast<double>(totals.n_rows);
    }
    if (balanced)
      sums.counts = sums.counts.defined() ? sums.counts + local.counts : local.counts.clone();
    Tensor loss = Losses(batch, forward, routing, totals, &sums);
    if (config_.task == TaskKind::kDpo)
      loss = loss + DpoLosses(batch, forward, reference, totals, &sums);
    sums.total += loss.item<double>();
    if (train && loss.requires_grad()) loss.backward();
  }
  Tensor numbers = torch::tensor({sums.ce, sums.dpo, sums.margin, sums.correct, sums.kl,
                                  sums.balance, sums.z, sums.total, sums.entropy, stop ? 1.0 : 0.0},
                                 torch::kFloat64);
  world_.all->AllReduceSum(numbers);
  if (sums.counts.defined()) world_.all->AllReduceSum(sums.counts);
  const auto number = [&](int64_t i) { return numbers[i].item<double>(); };
  const auto n_targets = static_cast<double>(std::max<int64_t>(totals.n_targets, 1));
  const auto n_pairs = static_cast<double>(std::max<int64_t>(totals.n_pairs, 1));
  const double layer_rows =
      static_cast<double>(std::max<int64_t>(totals.n_rows, 1)) * model_->config().n_layers;
  StepResult result;
  result.ce = number(0) / n_targets;
  result.dpo = number(1);
  result.margin = number(2) / n_pairs;
  result.accuracy = number(3) / n_pairs;
  result.router_kl = number(4);
  result.balance = number(5);
  result.z = number(6);
  result.total = number(7);
  result.entropy = number(8) / layer_rows;
  result.stop = number(9) > 0;
  result.n_tokens = totals.n_rows;
  result.n_targets = totals.n_targets;
  result.counts = sums.counts;
  return result;
}

StepResult StepRunner::Train(const std::vector<Window>& windows, int64_t step, double learning_rate,
                             bool stop) {
  StepResult result = Run(windows, step, true, stop);
  ReduceGradients();
  result.grad_norm = GradientNorm();
  if (!std::isfinite(result.grad_norm))
    Throw(
        ErrorCode::kInvalidArgument,
        "step {}: expected finite gradients, found norm {} at loss {}: lower lr or check the data",
        step, result.grad_norm, result.total);
  Update(ClipFactor(result.grad_norm, config_.clip), learning_rate, step);
  ClearGradients(trainables_);
  if (router_bias_.empty() || !result.counts.defined()) return result;
  const double last = config_.bias_until * static_cast<double>(config_.steps);
  if (static_cast<double>(step) <= last) {
    UpdateRouterBias(result.counts, config_.bias_rate, &router_bias_);
  } else {  // fades to nothing by the last step: the exported model has no bias
    const auto left = static_cast<double>(config_.steps - step);
    for (Tensor& bias : router_bias_) bias.mul_(left / (left + 1));
  }
  return result;
}

StepResult StepRunner::Evaluate(const std::vector<Window>& windows) const {
  const torch::NoGradGuard no_grad;
  return Run(windows, 0, false, false);
}

/// One flat buffer per group of ranks. A rank whose gradient is undefined (no token came to that
/// expert) adds zeros, so that nobody waits for it.
void StepRunner::ReduceGradients() const {
  for (const bool local : {false, true}) {
    std::vector<size_t> members;
    for (size_t i = 0; i < trainables_.size(); ++i) {
      if (local_[i] == local) members.push_back(i);
    }
    Group& group = local ? *world_.replicas : *world_.all;
    if (members.empty() || group.size() == 1) continue;
    std::vector<Tensor> flat;
    for (const size_t i : members) {
      const Tensor& value = trainables_[i].value;
      flat.push_back(value.grad().defined() ? value.grad().reshape({-1})
                                            : torch::zeros({value.numel()}));
    }
    const Tensor buffer = torch::cat(flat);
    group.AllReduceSum(buffer);
    int64_t begin = 0;
    for (const size_t i : members) {
      Tensor value = trainables_[i].value;
      value.mutable_grad() = buffer.narrow(0, begin, value.numel()).view(value.sizes());
      begin += value.numel();
    }
  }
}

double StepRunner::GradientNorm() const {
  double shared = 0;
  Tensor local = torch::zeros({1}, torch::kFloat64);
  for (size_t i = 0; i < trainables_.size(); ++i) {
    const Tensor& grad = trainables_[i].value.grad();
    if (!grad.defined()) continue;
    if (local_[i])
      local += SquaredNorm(grad);
    else
      shared += SquaredNorm(grad);
  }
  world_.expert_peers->AllReduceSum(local);
  return std::sqrt(shared + local.item<double>());
}

void StepRunner::Update(double factor, double learning_rate, int64_t step) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < trainables_.size(); ++i) {
    if (!Owns(i)) continue;
    const Tensor& grad = trainables_[i].value.grad();
    optimizer_.Update(trainables_[i], grad.defined() ? grad * factor : grad, learning_rate, step);
  }
  for (const bool local : {false, true}) {
    Group& group = local ? *world_.replicas : *world_.all;
    for (int root = 0; group.size() > 1 && root < group.size(); ++root) {
      std::vector<Tensor> flat;
      for (size_t i = 0; i < trainables_.size(); ++i) {
        if (local_[i] == local && owner_[i] == root)
          flat.push_back(trainables_[i].value.detach().reshape({-1}));
      }
      if (flat.empty()) continue;
      const Tensor buffer = torch::cat(flat);
      group.Broadcast(buffer, root);
      int64_t begin = 0;
      for (size_t i = 0; i < trainables_.size(); ++i) {
        if (local_[i] != local || owner_[i] != root) continue;
        Tensor value = trainables_[i].value;
        value.copy_(buffer.narrow(0, begin, value.numel()).view(value.sizes()));
        begin += value.numel();
      }
    }
  }
}

}  // namespace mixtral::train
