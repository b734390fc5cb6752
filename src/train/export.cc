// SPDX-License-Identifier: Apache-2.0
// The writing half of weights.h: a Hugging Face folder under a temporary name, renamed when every
// byte of it is on disk.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <system_error>

#include "base/json.h"
#include "base/mapped_file.h"
#include "io/safetensors.h"
#include "tensor/float_bits.h"
#include "train/weights.h"

namespace mixtral::train {
namespace {

namespace fs = std::filesystem;

std::string_view TorchType(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kBF16 ? "bfloat16" : "float16";
}

Json ConfigJson(const ModelConfig& config, DType dtype) {
  const bool dense = config.n_experts == 0;
  Json json = Json::Object();
  json.Set("architectures",
           Json::Array().Push(dense ? "MistralForCausalLM" : "MixtralForCausalLM"));
  json.Set("model_type", dense ? "mistral" : "mixtral").Set("hidden_act", "silu");
  json.Set("vocab_size", config.vocab_size).Set("hidden_size", config.dim);
  json.Set("intermediate_size", config.ffn_dim).Set("num_hidden_layers", config.n_layers);
  json.Set("num_attention_heads", config.n_heads).Set("num_key_value_heads", config.n_kv_heads);
  json.Set("head_dim", config.head_dim).Set("max_position_embeddings", config.max_context);
  if (!dense) {
    json.Set("num_local_experts", config.n_experts);
    json.Set("num_experts_per_tok", config.experts_per_token);
  }
  // The shortest decimals that give the same floats, so that 1e-05 stays 1e-05.
  const auto number = [](float value) { return std::stod(fmt::format("{}", value)); };
  json.Set("rms_norm_eps", number(config.norm_eps)).Set("rope_theta", number(config.rope_theta));
  json.Set("tie_word_embeddings", config.tied_embeddings).Set("torch_dtype", TorchType(dtype));
  json.Set("sliding_window",
           dense && config.sliding_window > 0 ? Json(config.sliding_window) : Json());
  return json;
}

void AppendAs(DType dtype, const Tensor& value, SafetensorsWriter* writer) {
  const Tensor flat = value.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const std::span<const float> floats(flat.data_ptr<float>(), static_cast<size_t>(flat.numel()));
  if (dtype == DType::kF32) return writer->Append(std::as_bytes(floats));
  std::vector<uint16_t> half(floats.size());
  std::transform(floats.begin(), floats.end(), half.begin(),
                 [&](float f) { return dtype == DType::kBF16 ? F32ToBf16(f) : F32ToF16(f); });
  writer->Append(std::as_bytes(std::span<const uint16_t>(half)));
}

void WriteText(const fs::path& path, const std::string& text) {
  WriteFileAtomically(path.string(), std::as_bytes(std::span<const char>(text)));
}

/// Puts the finished folder in the place of an older one, which is kept until the new one is there.
void ReplaceFolder(const fs::path& finished, const fs::path& folder) {
  std::error_code error;
  const fs::path old = folder.string() + ".old";
  fs::remove_all(old, error);
  if (fs::exists(folder)) fs::rename(folder, old, error);
  if (!error) fs::rename(finished, folder, error);
  if (error)
    Throw(ErrorCode::kIo, "export: expected to rename {} to {}, found {}", finished.string(),
          folder.string(), error.message());
  fs::remove_all(old, error);
}

}  // namespace

void ExportModel(const Model& model, const std::string& folder, const ExportOptions& options) {
  const fs::path temporary = folder + ".tmp";
  if (!options.write) {
    for (const Parameter& parameter : model.parameters()) options.value(parameter);
    return;
  }
  std::error_code error;
  fs::remove_all(temporary, error);
  fs::create_directories(temporary, error);
  if (error)
    Throw(ErrorCode::kIo, "export: expected to create {}, found {}", temporary.string(),
          error.message());
  {
    SafetensorsWriter writer((temporary / "model.safetensors").string());
    for (const Parameter& parameter : model.parameters())
      writer.Declare(parameter.name, options.dtype, parameter.shape);
    for (const Parameter& parameter : model.parameters())
      AppendAs(options.dtype, options.value(parameter), &writer);
    writer.Finish();
  }
  for (const auto& [name, content] : options.extra_files) WriteText(temporary / name, content);
  WriteText(temporary / "config.json", ConfigJson(model.config(), options.dtype).Dump(2) + "\n");
  options.before_rename(temporary.string());
  ReplaceFolder(temporary, folder);
}

void WriteTensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& all) {
  SafetensorsWriter writer(path);
  for (const auto& [name, value] : all) writer.Declare(name, DType::kF32, value.sizes().vec());
  for (const auto& [name, value] : all) AppendAs(DType::kF32, value, &writer);
  writer.Finish();
}

}  // namespace mixtral::train
