// SPDX-License-Identifier: Apache-2.0
// Weights from any checkpoint that the engine opens into a trainable model, and back out as a
// Hugging Face folder that the engine and other tools open. Called by the trainer and the probe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "tensor/dtype.h"
#include "train/model.h"

namespace mixtral::train {

struct OpenedCheckpoint {
  std::unique_ptr<Checkpoint> file;
  ModelConfig config;
  std::vector<std::string> notices;
};
/// Throws what OpenCheckpoint and the config's reader throw.
OpenedCheckpoint OpenForTraining(const std::string& path);

enum class BaseStorage : uint8_t {
  kTrainable,  // f32, requires gradients
  kQuantised,  // stays in the file's type and is frozen: the base of adapters. The checkpoint must
               // outlive the model
};
/// Fills the model from the checkpoint: its local experts only. Throws kNotFound, kCorrupt,
/// kUnsupported naming the tensor.
void LoadWeights(const Checkpoint& checkpoint, Model* model, BaseStorage storage);

/// Fills a mixture from a dense checkpoint of equal shape (sparse upcycling, Komatsuzaki et al.
/// 2022): every expert is a copy of the dense feed-forward part plus `noise` times its own standard
/// deviation of random numbers; routers start random with deviation 0.02.
void UpcycleWeights(const Checkpoint& dense, double noise, uint64_t seed, Model* model);

/// Writes `folder` with config.json and model.safetensors (f32, bf16 or f16), whole or not at all:
/// under a temporary name first. value gives a parameter's tensor (with expert parallelism a
/// collective call that every rank makes; only the writer writes). extra_files: name and content of
/// more files.
struct ExportOptions {
  DType dtype = DType::kF32;
  bool write = true;
  std::function<Tensor(const Parameter&)> value = [](const Parameter& p) { return p.Value(); };
  std::vector<std::pair<std::string, std::string>> extra_files;
  std::function<void(const std::string& folder)> before_rename = [](const std::string&) {};
};
void ExportModel(const Model& model, const std::string& folder, const ExportOptions& options);

/// Writes named tensors as one file of f32, sorted by name.
void WriteTensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& all);

}  // namespace mixtral::train
