// SPDX-License-Identifier: Apache-2.0
// Adapters on a base that stays in its file's quantised type (QLoRA): the same gradients as on the
// decoded base, a loss that falls, and a base that nobody writes to.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/sha256.h"
#include "train/adapters.h"
#include "train/step.h"
#include "train/test_shards.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

constexpr const char* kModel = "/fixtures/small-mixtral/gguf/small-mixtral-q4_k_m.gguf";

std::string ModelPath() {
  const char* shared = std::getenv("MIXTRAL_SHARED");
  return std::string(shared != nullptr ? shared : "../shared") + kModel;
}

TrainConfig Config() {
  TrainConfig config;
  config.lora_rank = 4;
  config.lora_alpha = 8;
  config.batch = config.micro_batch = 6;
  config.clip = 0;
  config.beta1 = 0.5;  // the first moments are half of the first gradients
  config.weight_decay = 0;
  return config;
}

Model Adapted(const OpenedCheckpoint& opened, BaseStorage storage) {
  Model model(opened.config);
  LoadWeights(*opened.file, &model, storage);
  AttachAdapters({4, 8, {"q", "v", "experts"}, 7}, &model);
  // B begins at zero, and A would have no gradient.
  const torch::NoGradGuard no_grad;
  for (Parameter& parameter : model.parameters()) {
    if (parameter.lora_b.defined())
      parameter.lora_b.copy_(0.01 * torch::ones_like(parameter.lora_b));
  }
  return model;
}

std::vector<Window> Windows() {
  std::vector<Window> windows;
  for (const Document& document : MakeDocuments(6, 20, 31, false)) windows.push_back({document});
  return windows;
}

std::string BytesOfBase(const Model& model) {
  std::string hashes;
  for (const Parameter& parameter : model.parameters()) {
    const std::span<const std::byte> bytes = parameter.quantised.bytes;
    if (!bytes.empty())
      hashes += Sha256Hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  return hashes;
}

TEST(Qlora, GradientsAreThoseOnTheDecodedBase) {
  if (!std::filesystem::exists(ModelPath())) GTEST_SKIP() << "no " << ModelPath();
  const OpenedCheckpoint opened = OpenForTraining(ModelPath());
  const TrainConfig config = Config();
  const World world = JoinWorld(1, 1);
  std::map<std::string, Tensor> first;
  for (const BaseStorage storage : {BaseStorage::kQuantised, BaseStorage::kTrainable}) {
    Model model = Adapted(opened, storage);
    StepRunner runner(config, world, &model, nullptr);
    runner.Train(Windows(), 1, 1e-12, false);
    size_t n_compared = 0;
    for (const auto& [name, moments] : runner.optimizer().moments()) {
      ASSERT_NE(name.find(".lora_"), std::string::npos) << name;
      if (storage == BaseStorage::kQuantised) {
        first[name] = moments.first;
        continue;
      }
      ASSERT_EQ(first.count(name), 1U) << name;
      const double norm = moments.first.norm().item<double>();
      EXPECT_LE((moments.first - first[name]).norm().item<double>(), 1e-5 * norm + 1e-12) << name;
      n_compared += norm > 0 ? 1 : 0;
    }
    if (storage == BaseStorage::kTrainable) {
      EXPECT_GT(n_compared, first.size() / 2);
    }
  }
}

TEST(Qlora, LearnsAndLeavesTheBaseAlone) {
  if (!std::filesystem::exists(ModelPath())) GTEST_SKIP() << "no " << ModelPath();
  const OpenedCheckpoint opened = OpenForTraining(ModelPath());
  const TrainConfig config = Config();
  const World world = JoinWorld(1, 1);
  Model model = Adapted(opened, BaseStorage::kQuantised);
  size_t n_quantised = 0;
  for (const Parameter& parameter : model.parameters())
    n_quantised += parameter.quantised.dtype != DType::kF32 && !parameter.base.defined() ? 1 : 0;
  ASSERT_GT(n_quantised, 10U);
  const std::string before = BytesOfBase(model);
  StepRunner runner(config, world, &model, nullptr);
  std::vector<double> losses;
  for (int64_t step = 1; step <= 12; ++step)
    losses.push_back(runner.Train(Windows(), step, 0.01, false).ce);
  EXPECT_LT(losses.back(), losses.front() - 0.3);
  EXPECT_EQ(BytesOfBase(model), before);
}

}  // namespace
}  // namespace mixtral::train
