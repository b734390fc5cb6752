// SPDX-License-Identifier: Apache-2.0
// Reader of Mistral-native folders (mistral_dir.h).
#include "io/mistral_dir.h"

#include <filesystem>

#include "io/mapped_checkpoint.h"

namespace mixtral {
namespace {

constexpr const char* kParams = "params.json";
constexpr const char* kSingle = "consolidated.safetensors";
constexpr const char* kIndex = "consolidated.safetensors.index.json";

class MistralCheckpoint : public MappedCheckpoint {
 public:
  explicit MistralCheckpoint(const std::string& folder)
      : MappedCheckpoint(CheckpointKind::kMistral, folder) {
    ReadConfigFile(kParams);
    AddSafetensors(kSingle, kIndex);
  }

  std::optional<std::string> sentencepiece_model() const override {
    // Later releases carry the version in the name.
    for (const char* name :
         {"tokenizer.model", "tokenizer.model.v3", "tokenizer.model.v2", "tokenizer.model.v1"})
      if (std::optional<std::string> bytes = ReadIfThere(InFolder(name))) return bytes;
    return std::nullopt;
  }
};

}  // namespace

bool IsMistralFolder(const std::string& folder) {
  const std::filesystem::path path(folder);
  return FileExists(path / kParams) && (FileExists(path / kSingle) || FileExists(path / kIndex));
}

std::unique_ptr<Checkpoint> OpenMistralFolder(const std::string& folder) {
  return std::make_unique<MistralCheckpoint>(folder);
}

}  // namespace mixtral
