// SPDX-License-Identifier: Apache-2.0
// Reader of Mistral-native folders (mistral_dir.h). The first release of Mixtral had its config
// under Hugging Face's keys, its experts packed and its weights in PyTorch files.
#include "io/mistral_dir.h"

#include <array>
#include <filesystem>

#include "base/error.h"
#include "io/mapped_checkpoint.h"
#include "io/packed_experts.h"
#include "io/torch_zip.h"

namespace mixtral {
namespace {

constexpr const char* kParams = "params.json";
constexpr const char* kConfig = "config.json";  // early folders have only this one
constexpr const char* kSingle = "consolidated.safetensors";
constexpr const char* kIndex = "consolidated.safetensors.index.json";
constexpr std::array<std::string_view, 2> kTorchExtensions = {".pth", ".pt"};
constexpr int kMaxTorchFiles = 100;  // two digits

std::filesystem::path TorchFile(const std::string& folder, int index, std::string_view extension) {
  return std::filesystem::path(folder) / fmt::format("consolidated.{:02}{}", index, extension);
}

/// consolidated.00.pth, .01.pth, ... without a gap; empty when there is no first one.
std::vector<std::string> TorchFiles(const std::string& folder) {
  std::vector<std::string> files;
  for (const std::string_view extension : kTorchExtensions) {
    if (!FileExists(TorchFile(folder, 0, extension))) continue;
    for (int i = 0; i < kMaxTorchFiles; ++i) {
      const std::filesystem::path file = TorchFile(folder, i, extension);
      if (!FileExists(file)) continue;
      if (static_cast<int>(files.size()) != i)
        Throw(ErrorCode::kNotFound, "weights: expected {}, since {} is there, found no such file",
              TorchFile(folder, static_cast<int>(files.size()), extension).string(), file.string());
      files.push_back(file.string());
    }
    return files;
  }
  return files;
}

bool HasSafetensors(const std::string& folder) {
  const std::filesystem::path path(folder);
  return FileExists(path / kSingle) || FileExists(path / kIndex);
}

/// How many experts the config tells, under either format's key; 0: none.
int64_t CountExperts(const Json& config) {
  if (const auto moe = config.Find("moe"))
    if (const auto n = moe->Find("num_experts")) return n->AsInt(0, 1024);
  if (const auto n = config.Find("num_local_experts")) return n->AsInt(0, 1024);
  return 0;
}

class MistralCheckpoint : public MappedCheckpoint {
 public:
  explicit MistralCheckpoint(const std::string& folder)
      : MappedCheckpoint(CheckpointKind::kMistral, folder) {
    ReadConfigFile(FileExists(InFolder(kParams)) ? kParams : kConfig);
    if (HasSafetensors(folder)) {
      AddSafetensors(kSingle, kIndex);
      RefuseFp8();
      return;
    }
    is_torch_ = true;
    for (const std::string& file : TorchFiles(folder)) AddTorch(file);
  }

  std::string format() const override {
    return is_torch_ ? "Mistral PyTorch (consolidated.NN.pt)" : MappedCheckpoint::format();
  }

  std::optional<std::string> sentencepiece_model() const override {
    // Later releases carry the version in the name.
    for (const char* name :
         {"tokenizer.model", "tokenizer.model.v3", "tokenizer.model.v2", "tokenizer.model.v1"})
      if (std::optional<std::string> bytes = ReadIfThere(InFolder(name))) return bytes;
    return std::nullopt;
  }

 private:
  void AddTorch(const std::string& path) {
    MappedFile file(path);
    const int64_t n_experts = CountExperts(config());
    NamedViews tensors = ParseTorchZip(file.bytes(), path);
    std::vector<MadeTensor> transposed = TransposedExperts(tensors, n_experts, path);
    AddFile(std::move(file), SlicePackedExperts(std::move(tensors), n_experts, path));
    if (!transposed.empty()) Replace(std::move(transposed), {});
  }

  bool is_torch_ = false;
};

}  // namespace

bool IsMistralFolder(const std::string& folder) {
  const std::filesystem::path path(folder);
  const bool has_torch = FileExists(TorchFile(folder, 0, kTorchExtensions[0])) ||
                         FileExists(TorchFile(folder, 0, kTorchExtensions[1]));
  if (FileExists(path / kParams)) return has_torch || HasSafetensors(folder);
  return FileExists(path / kConfig) && has_torch;
}

std::unique_ptr<Checkpoint> OpenMistralFolder(const std::string& folder) {
  return std::make_unique<MistralCheckpoint>(folder);
}

}  // namespace mixtral
