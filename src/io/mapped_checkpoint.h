// SPDX-License-Identifier: Apache-2.0
// What all checkpoints have in common: mapped files and an index of their tensors. Base class of
// the three formats' checkpoints; private to io/.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"

namespace mixtral {

/// A tensor that is converted from others when it is first asked for.
struct MadeTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  /// Tensors of files added before that it is made of; the first tells Where.
  std::vector<std::string> parts;
  /// Fills the tensor's bytes, which are zero.
  std::function<void(std::span<std::byte> out)> make;
};

class MappedCheckpoint : public Checkpoint {
 public:
  CheckpointKind kind() const override { return kind_; }
  const std::string& path() const override { return path_; }
  std::vector<std::string> Names() const override { return names_; }
  const TensorView* Find(std::string_view name) const override;
  const TensorView* Look(std::string_view name) const override;
  std::string Where(std::string_view name) const override;
  const Json& config() const override { return config_; }
  std::string config_path() const override { return config_path_; }
  std::optional<Json> generation_config() const override { return std::nullopt; }
  std::optional<std::string> sentencepiece_model() const override { return std::nullopt; }
  const GgufVocabulary* gguf_vocabulary() const override { return nullptr; }
  std::optional<std::string> chat_template() const override { return std::nullopt; }
  uint64_t FileBytes() const override;
  void HoldWeights(const OpenOptions& options) override;

 protected:
  MappedCheckpoint(CheckpointKind kind, std::string path)
      : kind_(kind), path_(std::move(path)), config_path_(path_) {}

  void SetConfig(Json config) { config_ = std::move(config); }
  /// Reads config() from a JSON file of the folder.
  void ReadConfigFile(std::string_view name);
  /// Takes over a file and the views into it. Throws Error{kCorrupt} when a name is there already.
  void AddFile(MappedFile file, std::vector<std::pair<std::string, TensorView>> tensors);
  /// Replaces tensors by what is made of them: every part, and every name in dropped, goes. A
  /// part's pages are given back once nothing has to be made of it.
  void Replace(std::vector<MadeTensor> made, const std::vector<std::string>& dropped);
  /// FP8 tensors that nothing has been made of yet, by name.
  std::vector<Fp8Tensor> Fp8Tensors() const;
  /// Throws Error{kUnsupported} when such are left: nothing else reads them.
  void RefuseFp8() const;
  /// Path of the file that holds a tensor; nullptr when there is no such tensor.
  const std::string* FileOf(std::string_view name) const;
  /// The weights of a folder: the single file, or else every shard that the index names, with the
  /// index checked against the shards both ways. index_name is "SINGLE.index.json".
  void AddSafetensors(const std::string& single_name, const std::string& index_name);
  std::string InFolder(std::string_view name) const;

 private:
  struct Conversion;
  struct Entry {
    TensorView view;
    size_t file;
    std::shared_ptr<Conversion> conversion =
        nullptr;  // of a tensor that is not in its file as it is
  };
  struct Fp8Entry {
    Fp8Tensor tensor;
    size_t file;
  };
  void AddParsed(MappedFile file, SafetensorsFile parsed);
  void Convert(Conversion& conversion, TensorView& view) const;
  void AddShards(const std::string& index_path);

  CheckpointKind kind_;
  std::string path_, config_path_;
  Json config_;
  std::vector<MappedFile> files_;
  std::vector<std::string> names_;
  mutable std::map<std::string, Entry, std::less<>> tensors_;  // mutable: Find converts
  std::map<std::string, Fp8Entry, std::less<>> fp8_;
  mutable std::mutex converting_;
};

/// The weight_map of a "SINGLE.index.json": tensor -> file name. Throws Error{kCorrupt} for names
/// that lead out of the folder.
std::map<std::string, std::string> ParseWeightIndex(std::string_view text,
                                                    const std::string& where);

/// A file of a folder as text, or nullopt when it is not there.
std::optional<std::string> ReadIfThere(const std::string& path);
bool FileExists(const std::string& path);  // a regular file, or a link to one

}  // namespace mixtral
