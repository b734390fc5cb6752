// SPDX-License-Identifier: Apache-2.0
// The mixture layer against a loop over experts, and the list of balance bugs that other trainers
// had (PEERS.md points 20 to 27), each as a test.
#include <gtest/gtest.h>

#include <cmath>

#include "train/adapters.h"
#include "train/step.h"
#include "train/test_shards.h"

namespace mixtral::train {
namespace {

ModelConfig TinyShape() {
  TrainConfig config;
  config.dim = 16;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 4;
  config.ffn_dim = 24;
  config.experts = 4;
  return config.Shape(64);
}

/// Random weights large enough that routers have an opinion.
Model TinyModel(uint64_t seed) {
  Model model(TinyShape());
  model.Initialise(seed);
  const torch::NoGradGuard no_grad;
  for (Parameter& parameter : model.parameters()) {
    if (parameter.shape.size() > 1) parameter.base.mul_(10);
  }
  return model;
}

std::vector<Window> TinyWindows(int n, bool masked = false) {
  std::vector<Window> windows;
  for (const Document& document : MakeDocuments(2 * n, 9, 11, masked)) {
    if (windows.empty() || windows.back().size() == 2) windows.emplace_back();
    windows.back().push_back(document);
  }
  return windows;
}

TrainConfig TinyConfig() {
  TrainConfig config;
  config.batch = 8;
  config.micro_batch = 8;
  config.balance_coef = 0.5;
  config.clip = 0;
  return config;
}

using Gradients = std::map<std::string, Tensor>;

/// One step of learning rate nearly 0. AdamW's first moments hold the gradients times 1 - beta1.
struct OneStep {
  StepResult result;
  Gradients gradients;
};
OneStep RunOneStep(TrainConfig config, const std::vector<Window>& windows, Model* model,
                   const Model* reference = nullptr) {
  config.beta1 = 0.5;
  const World world = JoinWorld(1, 1);
  StepRunner runner(config, world, model, reference);
  OneStep one;
  one.result = runner.Train(windows, 1, 1e-12, false);
  for (const auto& [name, moments] : runner.optimizer().moments())
    one.gradients[name] = moments.first * 2;
  return one;
}

void ExpectSame(const Gradients& a, const Gradients& b, double relative) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, grad] : a)
    EXPECT_LE((grad - b.at(name)).norm().item<double>(),
              relative * grad.norm().item<double>() + 1e-9)
        << name;
}

struct LayerCase {
  Tensor x, ids, weights;
  ExpertTensors experts;
  std::vector<Tensor> leaves;
};

/// choice: token -> its experts.
LayerCase MakeLayer(const std::vector<std::vector<int64_t>>& choice, int64_t n_experts) {
  torch::manual_seed(5);
  LayerCase layer;
  const auto leaf = [&](at::IntArrayRef shape) {
    layer.leaves.push_back(torch::randn(shape).set_requires_grad(true));
    return layer.leaves.back();
  };
  const auto n = static_cast<int64_t>(choice.size()), k = static_cast<int64_t>(choice[0].size());
  layer.ids = torch::empty({n, k}, torch::kInt64);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < k; ++j)
      layer.ids[i][j] = choice[static_cast<size_t>(i)][static_cast<size_t>(j)];
  }
  layer.x = leaf({n, 6});
  layer.weights = leaf({n, k});
  for (int64_t e = 0; e < n_experts; ++e) {
    layer.experts.gate.push_back(leaf({10, 6}));
    layer.experts.up.push_back(leaf({10, 6}));
    layer.experts.down.push_back(leaf({6, 10}));
  }
  return layer;
}

/// f32 is the kernel of its own, f64 the general way.
void ExpectDroplessEqualsLoop(const std::vector<std::vector<int64_t>>& choice, int64_t n_experts,
                              torch::ScalarType type = torch::kFloat32) {
  LayerCase layer = MakeLayer(choice, n_experts);
  const auto to_type = [&](Tensor& tensor) {
    tensor = tensor.detach().to(type).set_requires_grad(true);
  };
  for (Tensor* tensor : {&layer.x, &layer.weights}) to_type(*tensor);
  layer.leaves = {layer.x, layer.weights};
  for (auto* list : {&layer.experts.gate, &layer.experts.up, &layer.experts.down}) {
    for (Tensor& matrix : *list) to_type(matrix);
    layer.leaves.insert(layer.leaves.end(), list->begin(), list->end());
  }
  const Tensor seed = torch::randn({layer.x.size(0), layer.x.size(1)}, type);
  std::vector<Tensor> grads[2], outs;
  for (const bool naive : {false, true}) {
    const Tensor out =
        naive ? NaiveExperts(layer.x, layer.ids, layer.weights, layer.experts)
              : DroplessExperts(layer.x, layer.ids, layer.weights, layer.experts, type);
    outs.push_back(out.detach());
    grads[naive ? 1 : 0] =
        torch::autograd::grad({(out * seed).sum()}, layer.leaves, {}, c10::nullopt, false, true);
  }
  EXPECT_TRUE(torch::allclose(outs[0], outs[1], 1e-4, 1e-5));
  for (size_t i = 0; i < layer.leaves.size(); ++i) {
    ASSERT_EQ(grads[0][i].defined(), grads[1][i].defined()) << i;
    if (!grads[0][i].defined()) continue;
    EXPECT_TRUE(torch::allclose(grads[0][i], grads[1][i], 1e-4, 1e-4)) << i;
  }
}

TEST(Dropless, EqualsTheLoopOverExperts) {
  for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64}) {
    ExpectDroplessEqualsLoop({{0, 2}, {1, 2}, {0, 1}, {2, 3}, {0, 2}}, 4, type);
    ExpectDroplessEqualsLoop({{0, 1, 3}, {1, 2, 3}}, 5, type);
  }
}

TEST(Dropless, ThreadsDoNotChangeResults) {
  const int before = torch::get_num_threads();
  std::vector<std::vector<int64_t>> choice;
  for (int64_t i = 0; i < 40; ++i) choice.push_back({i % 3, 3 + i % 4});
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 5}) {
    torch::set_num_threads(threads);
    const LayerCase layer = MakeLayer(choice, 8);
    const Tensor out =
        DroplessExperts(layer.x, layer.ids, layer.weights, layer.experts, torch::kFloat32);
    std::vector<Tensor> found =
        torch::autograd::grad({out.square().sum()}, layer.leaves, {}, c10::nullopt, false, true);
    found.push_back(out.detach());
    if (first.empty()) first = found;
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].defined(), first[i].defined()) << i;
      if (!found[i].defined()) continue;
      EXPECT_TRUE(torch::equal(found[i], first[i])) << i;
    }
  }
  torch::set_num_threads(before);
}

/// A frozen matrix gets no gradient, and the others' are the same.
TEST(Dropless, FrozenMatricesAreLeftOut) {
  const LayerCase layer = MakeLayer({{0, 1}, {1, 2}, {0, 2}}, 3);
  const auto gradients = [&](const std::vector<Tensor>& leaves) {
    const Tensor out =
        DroplessExperts(layer.x, layer.ids, layer.weights, layer.experts, torch::kFloat32);
    return torch::autograd::grad({out.square().sum()}, leaves, {}, c10::nullopt, false, true);
  };
  const std::vector<Tensor> all = gradients(layer.leaves);
  Tensor frozen_gate = layer.experts.gate[1], frozen_down = layer.experts.down[2];
  frozen_gate.set_requires_grad(false);
  frozen_down.set_requires_grad(false);
  std::vector<Tensor> rest, expected;
  for (size_t i = 0; i < layer.leaves.size(); ++i) {
    if (!layer.leaves[i].requires_grad()) continue;
    rest.push_back(layer.leaves[i]);
    expected.push_back(all[i]);
  }
  ASSERT_EQ(rest.size() + 2, layer.leaves.size());
  const std::vector<Tensor> found = gradients(rest);
  for (size_t i = 0; i < rest.size(); ++i) EXPECT_TRUE(torch::equal(found[i], expected[i])) << i;
}

TEST(Dropless, NoTokenIsDroppedWhenAllWantOneExpert) {
  ExpectDroplessEqualsLoop(std::vector<std::vector<int64_t>>(50, {1, 2}), 4);
}

TEST(Dropless, NoTokensAtAll) {
  const LayerCase layer = MakeLayer({{0, 1}}, 3);
  const Tensor x = layer.x.narrow(0, 0, 0);
  const Tensor out = DroplessExperts(x, layer.ids.narrow(0, 0, 0), layer.weights.narrow(0, 0, 0),
                                     layer.experts, torch::kFloat32);
  EXPECT_EQ(out.size(0), 0);
  out.sum().backward();
}

TEST(Attention, DocumentsDoNotSeeEachOther) {
  const Model model = TinyModel(1);
  const torch::NoGradGuard no_grad;
  const Document a = MakeDocument(9, 64, 1, false), b = MakeDocument(13, 64, 2, false);
  const Batch both = MakeBatch({{a.tokens, {}, 0, 0}, {b.tokens, {}, 0, 0}});
  const Tensor packed = model.Forward(both, {}).hidden;
  const Tensor alone = model.Forward(MakeBatch({{b.tokens, {}, 0, 0}}), {}).hidden;
  EXPECT_LT((packed.narrow(0, 9, 13) - alone).abs().max().item<double>(), 1e-5);
}

TEST(Checkpointing, SameGradients) {
  Model model = TinyModel(2);
  TrainConfig config = TinyConfig();
  const OneStep plain = RunOneStep(config, TinyWindows(8), &model);
  config.checkpoint_activations = true;
  const OneStep again = RunOneStep(config, TinyWindows(8), &model);
  ExpectSame(plain.gradients, again.gradients, 1e-6);
}

TEST(Precision, Bf16IsNearAndMastersAreF32) {
  Model model = TinyModel(2);
  TrainConfig config = TinyConfig();
  const OneStep exact = RunOneStep(config, TinyWindows(8), &model);
  config.precision = "bf16";
  const OneStep rough = RunOneStep(config, TinyWindows(8), &model);
  EXPECT_NEAR(exact.result.ce, rough.result.ce, 0.05);
  EXPECT_NE(exact.result.ce, rough.result.ce);
  for (const Parameter& parameter : model.parameters())
    EXPECT_EQ(parameter.base.scalar_type(), torch::kFloat32);
}

/// A batch of router rows whose probabilities and choices are given.
RouterStats Stats(const std::vector<std::vector<float>>& probs,
                  const std::vector<std::vector<double>>& counts) {
  RouterStats stats;
  stats.prob_sum = torch::zeros({static_cast<int64_t>(counts[0].size())});
  for (const std::vector<float>& row : probs) stats.prob_sum += torch::tensor(row);
  stats.counts = torch::tensor(counts[0], torch::kFloat64);
  return stats;
}

double Balance(BalanceKind kind, const std::vector<RouterStats>& routers, double n_rows) {
  StepRouting step;
  std::vector<Tensor> counts;
  for (const RouterStats& router : routers) counts.push_back(router.counts);
  step.counts = torch::stack(counts);
  step.n_rows = n_rows;
  return BalanceLoss(kind, routers, step).item<double>();
}

// PEERS 21: a loss that "always returns a constant".
TEST(BalanceBugs, LossIsNotConstant) {
  const RouterStats even = Stats({{0.5F, 0.5F}, {0.5F, 0.5F}}, {{1, 1}});
  const RouterStats skewed = Stats({{0.9F, 0.1F}, {0.8F, 0.2F}}, {{2, 0}});
  EXPECT_NEAR(Balance(BalanceKind::kPerLayer, {even}, 2), 1.0, 1e-6);
  EXPECT_NEAR(Balance(BalanceKind::kPerLayer, {skewed}, 2), 2 * 0.85, 1e-6);
}

// PEERS 23: pooled over layers, opposite collapses cancel out.
TEST(BalanceBugs, OppositeCollapsesDoNotCancelPerLayer) {
  const RouterStats left = Stats({{1.0F, 0.0F}, {1.0F, 0.0F}}, {{2, 0}});
  const RouterStats right = Stats({{0.0F, 1.0F}, {0.0F, 1.0F}}, {{0, 2}});
  EXPECT_NEAR(Balance(BalanceKind::kPooled, {left, right}, 2), 1.0, 1e-6);
  EXPECT_NEAR(Balance(BalanceKind::kPerLayer, {left, right}, 2), 2.0, 1e-6);
}

// PEERS 22: padding counted. Padded or not, every loss and gradient is the same.
TEST(BalanceBugs, PaddingDoesNotCount) {
  const Model model = TinyModel(3);
  const Document a = MakeDocument(9, 64, 1, false), b = MakeDocument(14, 64, 2, false);
  Sequence padded = {a.tokens, {}, 5, 0};
  padded.tokens.resize(a.tokens.size() + 5, 0);
  std::vector<double> losses;
  std::vector<Gradients> gradients;
  for (const Batch& batch : {MakeBatch({{a.tokens, {}, 0, 0}, {b.tokens, {}, 0, 0}}),
                             MakeBatch({padded, {b.tokens, {}, 0, 0}})}) {
    const ForwardResult forward = model.Forward(batch, {});
    const Tensor loss = -BatchLogProbs(model, batch, forward, torch::kFloat32).sum() /
                            static_cast<double>(TargetRows(batch)) +
                        BalanceLoss(BalanceKind::kPerLayer, forward.routers, RoutingOf(forward)) +
                        RouterZLoss(forward.routers, RoutingOf(forward));
    loss.backward();
    losses.push_back(loss.item<double>());
    gradients.emplace_back();
    for (const Trainable& trainable : Trainables(model, DecayRule::kEverything))
      gradients.back()[trainable.name] = trainable.value.grad().clone();
    ClearGradients(Trainables(model, DecayRule::kEverything));
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-5);
  ExpectSame(gradients[0], gradients[1], 1e-4);
}

// PEERS 22, 23: micro-batches and packing change nothing, balance loss included.
TEST(BalanceBugs, AccumulationEqualsOneBatch) {
  Model model = TinyModel(4);
  TrainConfig config = TinyConfig();
  const std::vector<Window> windows = TinyWindows(8);
  const OneStep whole = RunOneStep(config, windows, &model);
  for (const int64_t micro : {1, 3}) {
    config.micro_batch = micro;
    const OneStep pieces = RunOneStep(config, windows, &model);
    EXPECT_NEAR(whole.result.total, pieces.result.total, 1e-5);
    EXPECT_NEAR(whole.result.balance, pieces.result.balance, 1e-5);
    ExpectSame(whole.gradients, pieces.gradients, 1e-4);
  }
}

TEST(BalanceBugs, PackingEqualsOneDocumentPerWindow) {
  Model model = TinyModel(4);
  const TrainConfig config = TinyConfig();
  const std::vector<Window> packed = TinyWindows(4);
  std::vector<Window> loose;
  for (const Window& window : packed) {
    for (const Document& document : window) loose.push_back({document});
  }
  const OneStep a = RunOneStep(config, packed, &model), b = RunOneStep(config, loose, &model);
  EXPECT_NEAR(a.result.total, b.result.total, 1e-5);
  ExpectSame(a.gradients, b.gradients, 1e-4);
}

// PEERS 23: the default settings balance: the router's gradient depends on the coefficient.
TEST(BalanceBugs, DefaultSettingsBalance) {
  Model model = TinyModel(5);
  TrainConfig config;
  const OneStep with = RunOneStep(config, TinyWindows(4), &model);
  config.balance = "none";
  const OneStep without = RunOneStep(config, TinyWindows(4), &model);
  const std::string router = "model.layers.0.block_sparse_moe.gate.weight";
  EXPECT_GT((with.gradients.at(router) - without.gradients.at(router)).norm().item<double>(),
            1e-3 * with.gradients.at(router).norm().item<double>());
}

/// Pairs of answers to the same beginning.
std::vector<Window> Pairs() {
  std::vector<Window> pairs;
  for (uint64_t i = 0; i < 4; ++i)
    pairs.push_back({MakeDocument(12, 64, 50 + i, true), MakeDocument(10, 64, 90 + i, true)});
  return pairs;
}

// PEERS 24: DPO ignored the balance loss; frozen, reference-routed and trained routers.
TEST(BalanceBugs, DpoHasTheBalanceLossAndThreeKindsOfRouters) {
  Model model = TinyModel(6), reference = TinyModel(7);
  for (Parameter& parameter : reference.parameters()) parameter.base.set_requires_grad(false);
  TrainConfig config = TinyConfig();
  config.task = TaskKind::kDpo;
  const std::string router = "model.layers.0.block_sparse_moe.gate.weight";
  const OneStep with = RunOneStep(config, Pairs(), &model, &reference);
  EXPECT_GT(with.result.balance, 0.9);
  EXPECT_NEAR(with.result.total,
              with.result.dpo + 0.5 * with.result.balance + 0.001 * with.result.z, 1e-5);
  config.balance = "none";
  const OneStep without = RunOneStep(config, Pairs(), &model, &reference);
  EXPECT_GT((with.gradients.at(router) - without.gradients.at(router)).norm().item<double>(), 1e-5);

  config.router = "reference";
  const OneStep replayed = RunOneStep(config, Pairs(), &model, &reference);
  const OneStep of_reference = RunOneStep(config, Pairs(), &model, &model);
  EXPECT_NE(replayed.result.dpo, without.result.dpo);
  EXPECT_NEAR(of_reference.result.dpo, std::log(2.0), 1e-6);  // policy and reference are one model
  EXPECT_NEAR(of_reference.result.margin, 0, 1e-6);

  config.router = "trained";
  config.router_kl = 0.7;
  const OneStep kl = RunOneStep(config, Pairs(), &model, &reference);
  EXPECT_GT(kl.result.router_kl, 0);
  EXPECT_NEAR(kl.result.total, kl.result.dpo + 0.7 * kl.result.router_kl + 0.001 * kl.result.z,
              1e-5);
  for (Parameter& parameter : model.parameters()) {
    if (parameter.role == TensorRole::kRouter) parameter.base.set_requires_grad(false);
  }
  EXPECT_FALSE(RunOneStep(config, Pairs(), &model, &reference).gradients.contains(router));
}

TEST(BalanceBugs, DpoAccumulationEqualsOneBatch) {
  Model model = TinyModel(6), reference = TinyModel(7);
  for (Parameter& parameter : reference.parameters()) parameter.base.set_requires_grad(false);
  TrainConfig config = TinyConfig();
  config.task = TaskKind::kDpo;
  config.router_kl = 0.3;
  const OneStep whole = RunOneStep(config, Pairs(), &model, &reference);
  config.micro_batch = 1;
  const OneStep pieces = RunOneStep(config, Pairs(), &model, &reference);
  EXPECT_NEAR(whole.result.total, pieces.result.total, 1e-5);
  ExpectSame(whole.gradients, pieces.gradients, 1e-4);
}

TEST(Router, JitterIsTheSameHoweverTheStepIsCut) {
  Model model = TinyModel(8);
  TrainConfig config = TinyConfig();
  const OneStep plain = RunOneStep(config, TinyWindows(8), &model);
  config.jitter = 0.2;
  const OneStep whole = RunOneStep(config, TinyWindows(8), &model);
  config.micro_batch = 3;
  const OneStep pieces = RunOneStep(config, TinyWindows(8), &model);
  EXPECT_NE(plain.result.total, whole.result.total);
  EXPECT_NEAR(whole.result.total, pieces.result.total, 1e-5);
  ExpectSame(whole.gradients, pieces.gradients, 1e-4);
}

TEST(Router, BiasMovesLoadTowardsEven) {
  std::vector<Tensor> biases = {torch::zeros({3})};
  UpdateRouterBias(torch::tensor({{10.0, 1.0, 4.0}}, torch::kFloat64), 0.01, &biases);
  EXPECT_TRUE(torch::allclose(biases[0], torch::tensor({-0.01F, 0.01F, 0.01F})));
  // The bias decides the choice and is absent from the weights.
  const Model model = TinyModel(9);
  const torch::NoGradGuard no_grad;
  const Batch batch = MakeBatch({{MakeDocument(30, 64, 1, false).tokens, {}, 0, 0}});
  ForwardOptions options;
  options.router_bias = {torch::tensor({100.0F, 50.0F, 0.0F, 0.0F}), torch::zeros({4})};
  const ForwardResult forward = model.Forward(batch, options);
  EXPECT_EQ(forward.routers[0].counts[0].item<double>(), 30);
  EXPECT_EQ(forward.routers[0].counts[1].item<double>(), 30);
  ForwardOptions forced;
  forced.forced_ids = {forward.routers[0].ids, forward.routers[1].ids};
  EXPECT_TRUE(torch::equal(model.Forward(batch, forced).hidden, forward.hidden));
}

TEST(ZLoss, IsTheMeanSquareOfTheLogSum) {
  const Model model = TinyModel(9);
  const Batch batch = MakeBatch({{MakeDocument(12, 64, 1, false).tokens, {}, 0, 0}});
  ForwardOptions options;
  const ForwardResult forward = model.Forward(batch, options);
  double sum = 0;
  for (const RouterStats& router : forward.routers) sum += router.z_sum.item<double>();
  EXPECT_NEAR(RouterZLoss(forward.routers, RoutingOf(forward)).item<double>(), sum / 24, 1e-5);
  EXPECT_GT(sum, 0);
}

// PEERS 20, 26: adapters see experts, and chosen ones only; routers get a gradient where asked.
TEST(Adapters, OnChosenExpertsOnlyAndMergedByValue) {
  Model model = TinyModel(10);
  const Tensor before = model.Find(TensorRole::kExpertUp, 1, 2).base.clone();
  AttachAdapters({2, 4, {"q", "expert:1:2", "router"}, 3}, &model);
  TrainConfig config = TinyConfig();
  const World world = JoinWorld(1, 1);
  StepRunner runner(config, world, &model, nullptr);
  EXPECT_EQ(runner.trainables().size(), 2U * 2 + 3 * 2 + 2);  // q, one expert, two routers
  const Batch batch = MakeBatch({{MakeDocument(12, 64, 1, false).tokens, {}, 0, 0}});
  const Model plain = WithoutAdapters(model);
  {
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(torch::equal(model.Forward(batch, {}).hidden, plain.Forward(batch, {}).hidden));
  }
  for (int step = 1; step <= 3; ++step) runner.Train(TinyWindows(8), step, 0.05, false);
  const Parameter& up = model.Find(TensorRole::kExpertUp, 1, 2);
  EXPECT_TRUE(torch::equal(up.base, before));
  EXPECT_GT((up.Value() - before).norm().item<double>(), 1e-3);
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(
      torch::equal(WithoutAdapters(model).Find(TensorRole::kExpertUp, 1, 2).Value(), before));
  EXPECT_FALSE(model.Find(TensorRole::kExpertUp, 1, 1).lora_a.defined());
  EXPECT_THROW(AttachAdapters({2, 4, {"expert:9:0"}, 3}, &model), Error);
  EXPECT_THROW(AttachAdapters({2, 4, {"eggs"}, 3}, &model), Error);
}

TEST(Schedules, WarmUpPeakAndFloor) {
  ScheduleOptions options = {Schedule::kCosine, 1.0, 0.1, 10, 110, 0.2};
  EXPECT_NEAR(LearningRate(options, 5), 0.5, 1e-12);
  EXPECT_NEAR(LearningRate(options, 10), 1.0, 1e-12);
  EXPECT_NEAR(LearningRate(options, 60), 0.55, 1e-12);
  EXPECT_NEAR(LearningRate(options, 110), 0.1, 1e-12);
  options.kind = Schedule::kWsd;
  EXPECT_NEAR(LearningRate(options, 80), 1.0, 1e-12);
  EXPECT_NEAR(LearningRate(options, 99), 0.55, 1e-12);
  EXPECT_NEAR(LearningRate(options, 110), 0.1, 1e-12);
}

}  // namespace
}  // namespace mixtral::train
