// SPDX-License-Identifier: Apache-2.0
// Every rank writes the state of the tensors that it owns to a file of its own; reading takes names
// from whatever files are there, so the number of ranks may change between runs.
#include "train/run_state.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "base/mapped_file.h"
#include "io/safetensors.h"
#include "train/weight_decode.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPosition = "trainer_state.json";

std::vector<fs::path> Checkpoints(const std::string& run) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(run) / "checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.find('.') == std::string::npos &&
        fs::exists(entry.path() / kPosition))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());  // numbers have leading zeros
  return found;
}

std::vector<std::pair<std::string, Tensor>> OwnState(bool adapters, StepRunner* runner,
                                                     int world_rank) {
  std::vector<std::pair<std::string, Tensor>> state;
  for (size_t i = 0; i < runner->trainables().size(); ++i) {
    if (!runner->Owns(i)) continue;
    const Trainable& trainable = runner->trainables()[i];
    const Moments& moments = runner->optimizer().moments()[trainable.name];
    if (!moments.first.defined()) continue;
    state.emplace_back(trainable.name + "|first", moments.first);
    state.emplace_back(trainable.name + "|second", moments.second);
    if (adapters) state.emplace_back(trainable.name + "|value", trainable.value.detach());
  }
  for (size_t layer = 0; world_rank == 0 && layer < runner->router_bias().size(); ++layer)
    state.emplace_back(fmt::format("router_bias|{}", layer), runner->router_bias()[layer]);
  return state;
}

/// All but the newest, and what kills have left half-written.
void RemoveOld(const std::string& run, int64_t keep) {
  const std::vector<fs::path> all = Checkpoints(run);
  std::error_code error;
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    fs::remove(all[i] / kPosition, error);  // from here on it is no checkpoint
    fs::remove_all(all[i], error);
  }
  std::vector<fs::path> halves;
  for (const auto& entry : fs::directory_iterator(fs::path(run) / "checkpoints", error)) {
    if (!fs::exists(entry.path() / kPosition) || entry.path().has_extension())
      halves.push_back(entry.path());
  }
  for (const fs::path& half : halves) fs::remove_all(half, error);
}

}  // namespace

std::string NewestCheckpoint(const std::string& run) {
  const std::vector<fs::path> all = Checkpoints(run);
  return all.empty() ? "" : all.back().string();
}

Tensor FetchParameter(const Parameter& parameter, const World& world, int n_local_experts) {
  if (!parameter.IsExpert() || world.expert_peers->size() == 1) return parameter.Value();
  const int owner = parameter.expert / n_local_experts;
  Tensor value = owner == world.expert_peers->rank()
                     ? parameter.Value().detach().clone().contiguous()
                     : torch::empty(parameter.shape);
  world.expert_peers->Broadcast(value, owner);
  return value;
}

void SaveCheckpoint(const SaveOptions& options, const RunPosition& position, const World& world,
                    const Model& model, StepRunner* runner) {
  const torch::NoGradGuard no_grad;
  const std::string folder = fmt::format("{}/checkpoints/step-{:08}", options.run, position.step);
  const std::string state_file =
      fmt::format("/optimizer-{}-of-{}.safetensors", world.rank() + 1, world.size());
  const auto write_own = [&](const std::string& in) {
    world.all->Barrier();  // the folder is there
    WriteTensors(in + state_file, OwnState(options.adapters, runner, world.rank()));
    world.all->Barrier();  // everybody's state is there
  };
  ExportOptions writing;
  writing.write = world.rank() == 0;
  writing.extra_files = options.extra_files;
  writing.value = [&](const Parameter& parameter) {
    return FetchParameter(parameter, world, model.n_local_experts());
  };
  Json state = Json::Object().Set("step", position.step).Set("tokens", position.n_tokens);
  state.Set("world_size", world.size()).Set("sampler", position.sampler);
  writing.extra_files.emplace_back(kPosition, state.Dump(2) + "\n");
  writing.before_rename = write_own;
  ExportModel(model, folder, writing);
  if (world.rank() != 0) write_own(folder + ".tmp");
  world.all->Barrier();  // renamed
  if (world.rank() == 0) RemoveOld(options.run, options.keep);
}

RunPosition RestoreCheckpoint(const std::string& folder, StepRunner* runner) {
  const torch::NoGradGuard no_grad;
  const std::string path = folder + "/" + kPosition;
  const Json json = Json::Parse(ReadTextFile(path), path);
  RunPosition position = {json.At("step").AsInt(0), json.At("tokens").AsInt(0), json.At("sampler")};
  std::vector<std::unique_ptr<MappedFile>> files;
  std::map<std::string, TensorView> state;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with("optimizer-")) continue;
    files.push_back(std::make_unique<MappedFile>(entry.path().string()));
    for (auto& [name, view] : ParseSafetensors(files.back()->bytes(), files.back()->path()).tensors)
      state[name] = view;
  }
  const auto read = [&](const std::string& name, const Tensor& like) {
    const auto it = state.find(name);
    if (it == state.end())
      Throw(ErrorCode::kNotFound, "optimizer state: expected {}, found no such tensor, in {}", name,
            folder);
    const Tensor value = DecodeView(it->second, 0);
    if (value.sizes() != like.sizes())
      Throw(ErrorCode::kCorrupt,
            "optimizer state {}: expected the weight's shape, found another, in {}", name, folder);
    return value;
  };
  for (size_t i = 0; i < runner->trainables().size(); ++i) {
    const Trainable& trainable = runner->trainables()[i];
    if (state.contains(trainable.name + "|value")) {
      Tensor value = trainable.value;
      value.copy_(read(trainable.name + "|value", value));
    }
    if (!runner->Owns(i)) continue;
    runner->optimizer().moments()[trainable.name] = {
        read(trainable.name + "|first", trainable.value),
        read(trainable.name + "|second", trainable.value)};
  }
  for (size_t layer = 0; layer < runner->router_bias().size(); ++layer)
    runner->router_bias()[layer].copy_(
        read(fmt::format("router_bias|{}", layer), runner->router_bias()[layer]));
  return position;
}

}  // namespace mixtral::train
