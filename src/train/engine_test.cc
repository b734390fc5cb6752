// SPDX-License-Identifier: Apache-2.0
// The trainer's forward pass against the engine's, through files of `mixtral logits`: two programs,
// since one process cannot hold both. And every checkpoint format against the goldens.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/mapped_file.h"
#include "io/safetensors.h"
#include "train/batches.h"
#include "train/test_shards.h"
#include "train/weight_decode.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

Tensor TrainerLogits(const std::string& checkpoint, const std::vector<int32_t>& tokens,
                     BaseStorage storage) {
  const torch::NoGradGuard no_grad;
  const OpenedCheckpoint opened = OpenForTraining(checkpoint);
  Model model(opened.config);
  LoadWeights(*opened.file, &model, storage);
  return model.Logits(model.Forward(MakeBatch({{tokens, {}, 0, 0}}), {}).hidden);
}

Tensor FileTensor(const std::string& path, const std::string& name) {
  const MappedFile file(path);
  for (const auto& [found, view] : ParseSafetensors(file.bytes()).tensors) {
    if (found == name) return DecodeView(view, 0);
  }
  ADD_FAILURE() << name << " is not in " << path;
  return {};
}

TEST(EngineEqualsTrainer, OnTheModelThatShips) {
  if (std::string(MIXTRAL_BINARY).empty() || !std::filesystem::exists(MIXTRAL_BINARY))
    GTEST_SKIP() << "the program mixtral is not built";
  const TestFolder folder("engine");
  const std::string model = "models/tiny-multilingual-q8_0.gguf";
  std::vector<int32_t> tokens = {1};
  for (int32_t i = 0; i < 60; ++i) tokens.push_back(300 + i * 37 % 3000);
  Json list = Json::Array();
  for (const int32_t token : tokens) list.Push(token);
  const std::string text = Json::Array().Push(list).Dump();
  WriteRaw(folder / "ids.json", text.data(), text.size());
  const std::string command = std::string(MIXTRAL_BINARY) + " logits " + model + " --tokens " +
                              (folder / "ids.json") + " -o " + (folder / "out.safetensors") +
                              " --compute exact -q";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const Tensor engine = FileTensor(folder / "out.safetensors", "0.logits");
  for (const BaseStorage storage : {BaseStorage::kTrainable, BaseStorage::kQuantised}) {
    const Tensor trainer = TrainerLogits(model, tokens, storage);
    EXPECT_LT((trainer - engine).abs().max().item<double>(), 1e-3);
  }
  EXPECT_GT(engine.std().item<double>(), 0.5);
}

/// Every file of a variant of a fixture against its golden logits of the prompt of 33 tokens.
void ExpectGoldenLogits(const std::string& fixture) {
  const char* shared = std::getenv("MIXTRAL_SHARED");
  const std::string folder =
      std::string(shared != nullptr ? shared : "../shared") + "/fixtures/" + fixture + "/";
  if (!std::filesystem::exists(folder + "golden.json")) GTEST_SKIP() << "no fixtures in " << folder;
  const Json variants =
      Json::Parse(ReadTextFile(folder + "golden.json"), "golden.json").At("variants");
  size_t n_files = 0;
  for (const std::string& variant : variants.Keys()) {
    const Json one = variants.At(variant), prompts = one.At("prompts");
    for (size_t p = 0; p < prompts.Size(); ++p) {
      const std::vector<int64_t> ids = prompts.At(p).At("tokens").AsIntArray();
      if (ids.size() != 33) continue;
      const std::string name = prompts.At(p).At("name").AsString();
      const Tensor golden = FileTensor(folder + one.At("tensors").AsString(), name + ".logits");
      for (size_t f = 0; f < one.At("files").Size(); ++f, ++n_files) {
        const std::string file = one.At("files").At(f).AsString();
        const Tensor ours =
            TrainerLogits(folder + file, {ids.begin(), ids.end()}, BaseStorage::kTrainable);
        EXPECT_LT((ours - golden).abs().max().item<double>(), 1e-3) << file;
      }
    }
  }
  EXPECT_GT(n_files, 1U);
}

TEST(Formats, TinyMixtralInElevenFiles) { ExpectGoldenLogits("tiny-mixtral"); }
TEST(Formats, SmallMixtralInKQuants) { ExpectGoldenLogits("small-mixtral"); }
TEST(Formats, DenseMistral) { ExpectGoldenLogits("dense-mistral"); }
TEST(Formats, TiedEmbeddings) { ExpectGoldenLogits("tied-mixtral"); }

}  // namespace
}  // namespace mixtral::train
