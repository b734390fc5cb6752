// SPDX-License-Identifier: Apache-2.0
// Reader of Hugging Face folders (hf_dir.h). Tokenizer and template files are read only when asked
// for: a model of token ids alone has none.
#include "io/hf_dir.h"

#include <filesystem>

#include "io/mapped_checkpoint.h"

namespace mixtral {
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// A template is a string, or a list of named ones of which "default" is the chat.
std::optional<std::string> TemplateText(const Json& value) {
  if (!value.IsArray()) return value.AsString();
  for (size_t i = 0; i < value.Size(); ++i) {
    const Json named = value.At(i);
    if (named.At("name").AsString() == "default") return named.At("template").AsString();
  }
  return std::nullopt;
}

class HuggingFaceCheckpoint : public MappedCheckpoint {
 public:
  explicit HuggingFaceCheckpoint(const std::string& folder)
      : MappedCheckpoint(CheckpointKind::kHuggingFace, folder) {
    ReadConfigFile(kConfig);
    AddSafetensors(kSingle, kIndex);
  }

  std::optional<Json> generation_config() const override {
    const std::string file = InFolder("generation_config.json");
    const std::optional<std::string> text = ReadIfThere(file);
    return text ? std::optional<Json>(Json::Parse(*text, file)) : std::nullopt;
  }

  std::optional<std::string> sentencepiece_model() const override {
    return ReadIfThere(InFolder("tokenizer.model"));
  }

  std::optional<std::string> tokenizer_json() const override {
    return ReadIfThere(InFolder("tokenizer.json"));
  }

  std::optional<std::string> chat_template() const override {
    return ReadFolderChatTemplate(path());
  }
};

}  // namespace

bool IsHuggingFaceFolder(const std::string& folder) {
  const std::filesystem::path path(folder);
  return FileExists(path / kConfig) && (FileExists(path / kSingle) || FileExists(path / kIndex));
}

std::unique_ptr<Checkpoint> OpenHuggingFaceFolder(const std::string& folder) {
  return std::make_unique<HuggingFaceCheckpoint>(folder);
}

std::optional<std::string> ReadFolderChatTemplate(const std::string& folder) {
  const std::filesystem::path path(folder);
  // Newer exports keep the template in a file of its own, which then is the one that counts.
  if (auto text = ReadIfThere((path / "chat_template.jinja").string())) return text;
  const std::string file = (path / "tokenizer_config.json").string();
  const std::optional<std::string> text = ReadIfThere(file);
  if (!text) return std::nullopt;
  const std::optional<Json> value = Json::Parse(*text, file).Find("chat_template");
  return value ? TemplateText(*value) : std::nullopt;
}

}  // namespace mixtral
