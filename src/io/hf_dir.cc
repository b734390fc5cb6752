// SPDX-License-Identifier: Apache-2.0
// Reader of Hugging Face folders (hf_dir.h). Tokenizer and template files are read only when asked
// for: a model of token ids alone has none.
#include "io/hf_dir.h"

#include <array>
#include <filesystem>

#include "base/error.h"
#include "io/fp8_weights.h"
#include "io/mapped_checkpoint.h"
#include "io/packed4_weights.h"
#include "io/quantization_config.h"

namespace mixtral {
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// Scales of activations and caches in 8 bits, which this program does not use.
constexpr std::array<std::string_view, 5> kActivationScales = {".input_scale", ".act_scale",
                                                               ".k_scale", ".v_scale", ".kv_scale"};

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
    if (const std::optional<Json> quantization = FindQuantization())
      Dequantize(ParseQuantizationConfig(*quantization));
    RefuseFp8();
  }

  std::string format() const override { return MappedCheckpoint::format() + quantization_; }

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

  std::optional<std::string> side_file(std::string_view name) const override {
    return ReadIfThere(InFolder(name));
  }

  std::optional<std::string> chat_template() const override {
    return ReadFolderChatTemplate(path());
  }

 private:
  /// In config.json, or in the file of its own that the first GPTQ models had.
  std::optional<Json> FindQuantization() const {
    if (auto value = config().Find("quantization_config"); value && value->Size() > 0) return value;
    const std::string file = InFolder("quantize_config.json");
    const std::optional<std::string> text = ReadIfThere(file);
    return text ? std::optional<Json>(Json::Parse(*text, file)) : std::nullopt;
  }

  void Dequantize(const QuantizationConfig& config) {
    const bool is_fp8 = config.method == QuantMethod::kFp8;
    std::vector<std::string> dropped = is_fp8 ? std::vector<std::string>() : ZeroBiases(*this);
    for (const std::string& name : Names())
      for (const std::string_view suffix : kActivationScales)
        if (name.ends_with(suffix)) dropped.push_back(name);
    Replace(
        is_fp8 ? DequantizedFp8(*this, Fp8Tensors(), config) : DequantizedPacked4(*this, config),
        dropped);
    quantization_ =
        fmt::format(", {} weights converted at loading", QuantMethodText(config.method));
  }

  std::string quantization_;
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
