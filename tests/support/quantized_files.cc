// SPDX-License-Identifier: Apache-2.0
// Quantised Hugging Face folders (quantized_files.h). Quantised values are drawn, not fitted: what
// matters is that reader and writer mean the same numbers.
#include "support/quantized_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <span>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/rng.h"
#include "io/fp8_weights.h"
#include "support/model_files.h"
#include "support/tensor_rows.h"
#include "tensor/float_bits.h"

namespace mixtral::testing {

namespace {

struct RawTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using RawTensors = std::map<std::string, RawTensor>;

void WriteText(const std::string& path, const std::string& text) {
  WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

// safetensors with types that the project's own writer does not write.
void WriteRaw(const std::string& path, const RawTensors& tensors) {
  Json header = Json::Object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    Json shape = Json::Array();
    for (const int64_t n : tensor.shape) shape.Push(n);
    const auto begin = static_cast<int64_t>(data.size());
    data += tensor.bytes;
    header.Set(name, Json::Object()
                         .Set("dtype", tensor.dtype)
                         .Set("shape", shape)
                         .Set("data_offsets",
                              Json::Array().Push(begin).Push(static_cast<int64_t>(data.size()))));
  }
  const std::string text = header.Dump();
  const uint64_t length = text.size();
  WriteText(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data);
}

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

bool IsQuantized(TensorRole role) {
  return role == TensorRole::kQ || role == TensorRole::kK || role == TensorRole::kV ||
         role == TensorRole::kO || role == TensorRole::kExpertGate ||
         role == TensorRole::kExpertUp || role == TensorRole::kExpertDown;
}

std::string NameOf(const TinyTensor& tensor) {
  return TensorName(NamingScheme::kHuggingFace, tensor.role, tensor.layer, tensor.expert);
}

RawTensor AsF32(const TinyTensor& tensor) {
  std::vector<int64_t> shape = {tensor.rows, tensor.cols};
  if (IsVector(tensor.role)) shape = {tensor.cols};
  return {"F32", shape, Bytes(tensor.values)};
}

/// Writes config.json as WriteHuggingFace does, with this key beside.
void WriteConfig(const TinyModel& model, const std::string& dir, const std::string& file,
                 const Json& quantization) {
  WriteHuggingFace(model, dir, DType::kF32);
  std::filesystem::remove(dir + "/model.safetensors");
  if (file != "config.json") return WriteText(dir + "/" + file, quantization.Dump());
  Json config = Json::Parse(ReadTextFile(dir + "/config.json"), "config.json");
  WriteText(dir + "/config.json", config.Set("quantization_config", quantization).Dump());
}

std::string EncodeScales(const std::vector<float>& scales, DType dtype) {
  const auto encoded = EncodeRows(dtype, scales, 1, static_cast<int64_t>(scales.size()));
  return {reinterpret_cast<const char*>(encoded.data()), encoded.size()};
}

// One matrix: draws q, zero and scale, packs them, and puts what they mean into tensor->values.
void Pack(const Packed4Options& options, uint64_t stream, TinyTensor* tensor, RawTensors* out) {
  const CounterRng rng(77, stream);
  const auto rows = static_cast<size_t>(tensor->rows), cols = static_cast<size_t>(tensor->cols);
  const size_t group = options.group < 0 ? cols : static_cast<size_t>(options.group);
  const size_t n_groups = (cols + group - 1) / group;
  const bool awq = options.packing == Packing::kAwq;
  std::vector<uint32_t> qweight(rows * cols / 8), qzeros(n_groups * rows / 8);
  std::vector<float> scales(n_groups * rows);
  std::vector<int32_t> g_idx(cols);
  for (size_t k = 0; k < cols; ++k)
    g_idx[k] = static_cast<int32_t>(options.reordered ? (k * 7 + 3) % cols / group : k / group);
  constexpr size_t kAwqColumn[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // held by nibble i of a word
  const auto nibble_of = [&](size_t column) -> size_t {
    if (!awq) return column % 8;
    for (size_t i = 0; i < 8; ++i)
      if (kAwqColumn[i] == column % 8) return i;
    return 0;
  };
  uint64_t draw = 0;
  std::vector<int> zeros(n_groups * rows);
  for (size_t i = 0; i < n_groups * rows; ++i) {
    const size_t g = i / rows, n = i % rows;
    const int lowest = options.packing == Packing::kGptq ? 1 : 0;
    zeros[i] = options.symmetric ? 8 : lowest + static_cast<int>(rng.Bits(draw++) % 16);
    const uint32_t stored = static_cast<uint32_t>(zeros[i] - lowest);
    qzeros[(g * rows + n) / 8] |= stored << (4 * nibble_of(n));
    const float scale = 0.002f + 0.01f * static_cast<float>(rng.Bits(draw++) % 1000) / 1000;
    scales[i] = options.scales == DType::kF16    ? F16ToF32(F32ToF16(scale))
                : options.scales == DType::kBF16 ? Bf16ToF32(F32ToBf16(scale))
                                                 : scale;
  }
  for (size_t n = 0; n < rows; ++n)
    for (size_t k = 0; k < cols; ++k) {
      const auto q = static_cast<uint32_t>(rng.Bits(draw++) % 16);
      if (awq)
        qweight[(k * rows + n) / 8] |= q << (4 * nibble_of(n));
      else
        qweight[k / 8 * rows + n] |= q << (4 * (k % 8));
      const size_t at = static_cast<size_t>(g_idx[k]) * rows + n;
      tensor->values[n * cols + k] =
          scales[at] * static_cast<float>(static_cast<int>(q) - zeros[at]);
    }
  const std::string name = NameOf(*tensor);
  const std::string base = name.substr(0, name.size() - std::string(".weight").size());
  const auto i = [](size_t n) { return static_cast<int64_t>(n); };
  std::vector<int64_t> packed = {i(cols / 8), i(rows)};
  if (awq) packed = {i(cols), i(rows / 8)};
  (*out)[base + ".qweight"] = {"I32", packed, Bytes(qweight)};
  (*out)[base + ".qzeros"] = {"I32", {i(n_groups), i(rows / 8)}, Bytes(qzeros)};
  (*out)[base + ".scales"] = {std::string(Name(options.scales)),
                              {i(n_groups), i(rows)},
                              EncodeScales(scales, options.scales)};
  if (!awq) (*out)[base + ".g_idx"] = {"I32", {i(cols)}, Bytes(g_idx)};
  if (options.zero_biases) (*out)[base + ".bias"] = {"F16", {i(rows)}, std::string(rows * 2, '\0')};
}

void ToFp8(Fp8Scales kind, uint64_t stream, TinyTensor* tensor, RawTensors* out) {
  const CounterRng rng(78, stream);
  const auto rows = static_cast<size_t>(tensor->rows), cols = static_cast<size_t>(tensor->cols);
  const size_t block_rows = kind == Fp8Scales::kBlocks ? 16 : kind == Fp8Scales::kRow ? 1 : rows;
  const size_t block_cols = kind == Fp8Scales::kBlocks ? 24 : cols;
  const size_t down = (rows + block_rows - 1) / block_rows;
  const size_t across = (cols + block_cols - 1) / block_cols;
  std::vector<float> scales(down * across);
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = 0.001f + 0.002f * static_cast<float>(rng.Bits(i) % 4096) / 4096;
  std::string weights(rows * cols, '\0');
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint64_t bits = rng.Bits(scales.size() + i);
    const auto byte = static_cast<uint8_t>((bits & 0x80) | (0x20 + (bits >> 8) % 0x30));
    weights[i] = static_cast<char>(byte);
    const float scale = scales[i / cols / block_rows * across + i % cols / block_cols];
    tensor->values[i] = F16ToF32(F32ToF16(E4m3ToF32(byte) * scale));
  }
  std::vector<int64_t> shape = {static_cast<int64_t>(down), static_cast<int64_t>(across)};
  if (kind == Fp8Scales::kTensor) shape = {};
  const std::string name = NameOf(*tensor);
  const bool blocks = kind == Fp8Scales::kBlocks;
  (*out)[name] = {"F8_E4M3", {tensor->rows, tensor->cols}, weights};
  (*out)[name + (blocks ? "_scale_inv" : "_scale")] = {"F32", shape, Bytes(scales)};
  const std::string base = name.substr(0, name.size() - std::string(".weight").size());
  (*out)[base + ".input_scale"] = {"F32", {}, Bytes(std::vector<float>{1})};
}

}  // namespace

TinyModel WritePacked4(const TinyModel& model, const std::string& dir,
                       const Packed4Options& options) {
  const bool awq = options.packing == Packing::kAwq;
  Json json = Json::Object();
  json.Set("quant_method", awq ? "awq" : "gptq").Set("bits", 4).Set("group_size", options.group);
  if (awq) {
    json.Set("version", "gemm").Set("zero_point", true);
  } else {
    json.Set("sym", options.symmetric).Set("desc_act", options.reordered);
    if (options.packing == Packing::kGptqV2) json.Set("checkpoint_format", "gptq_v2");
  }
  WriteConfig(model, dir, options.config_in_own_file ? "quantize_config.json" : "config.json",
              json);
  TinyModel meant = model;
  RawTensors tensors;
  uint64_t stream = 0;
  for (TinyTensor& tensor : meant.tensors) {
    if (IsQuantized(tensor.role))
      Pack(options, stream++, &tensor, &tensors);
    else
      tensors[NameOf(tensor)] = AsF32(tensor);
  }
  WriteRaw(dir + "/model.safetensors", tensors);
  return meant;
}

TinyModel WriteFp8(const TinyModel& model, const std::string& dir, Fp8Scales scales) {
  Json json = Json::Object().Set("quant_method", "fp8").Set("activation_scheme", "static");
  if (scales == Fp8Scales::kBlocks) json.Set("weight_block_size", Json::Array().Push(16).Push(24));
  WriteConfig(model, dir, "config.json", json);
  TinyModel meant = model;
  RawTensors tensors;
  uint64_t stream = 0;
  for (TinyTensor& tensor : meant.tensors) {
    if (IsQuantized(tensor.role))
      ToFp8(scales, stream++, &tensor, &tensors);
    else
      tensors[NameOf(tensor)] = AsF32(tensor);
  }
  WriteRaw(dir + "/model.safetensors", tensors);
  return meant;
}

}  // namespace mixtral::testing
