// SPDX-License-Identifier: Apache-2.0
// Reader of quantization_config (quantization_config.h).
#include "io/quantization_config.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

constexpr int64_t kMaxGroup = 1 << 20;

[[noreturn]] void Refuse(const Json& value, std::string_view expected) {
  Throw(ErrorCode::kUnsupported, "{}: expected {}, found {}, which is not supported", value.path(),
        expected, Printable(value.Dump()));
}

/// Throws unless a text that is there is one of these, upper or lower case alike.
void RequireText(const Json& json, std::string_view key,
                 std::initializer_list<std::string_view> allowed, std::string_view expected) {
  const auto value = json.Find(key);
  if (!value) return;
  std::string text = value->AsString();
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) Refuse(*value, expected);
}

bool ReadBool(const Json& json, std::string_view key, bool absent) {
  const auto value = json.Find(key);
  return value ? value->AsBool() : absent;
}

void Require4Bits(const Json& json) {
  const auto old = json.Find("w_bit");
  const Json bits = old ? *old : json.At("bits");
  if (bits.AsInt() != 4) Refuse(bits, "4");
}

int64_t ReadGroup(const Json& json) {
  const auto old = json.Find("q_group_size");
  const Json value = old ? *old : json.At("group_size");
  const int64_t group = value.AsInt(-1, kMaxGroup);
  if (group == 0) Refuse(value, "-1 or at least 1");
  return group;
}

QuantizationConfig ReadFp8(const Json& json) {
  QuantizationConfig config;
  RequireText(json, "fmt", {"e4m3", "float8_e4m3fn"}, "e4m3");
  if (const auto block = json.Find("weight_block_size")) {
    const std::vector<int64_t> sizes = block->AsIntArray();
    if (sizes.size() != 2 || sizes[0] < 1 || sizes[1] < 1 ||
        std::max(sizes[0], sizes[1]) > kMaxGroup)
      Refuse(*block, "[rows, columns]");
    config.block_rows = sizes[0];
    config.block_cols = sizes[1];
  }
  return config;
}

/// llm-compressor's container: only its 8-bit floats are FP8 as above, told by their shapes.
QuantizationConfig ReadCompressedTensors(const Json& json) {
  QuantizationConfig config;
  RequireText(json, "format", {"float-quantized", "naive-quantized"}, "float-quantized");
  const Json groups = json.At("config_groups");
  for (const std::string& name : groups.Keys()) {
    const Json weights = groups.At(name).At("weights");
    if (weights.At("num_bits").AsInt() != 8 || weights.At("type").AsString() != "float")
      Refuse(weights, "8-bit floats");
    if (const auto block = weights.Find("block_structure")) {
      const std::vector<int64_t> sizes = block->AsIntArray();
      if (sizes.size() != 2 || sizes[0] < 1 || sizes[1] < 1) Refuse(*block, "[rows, columns]");
      config.block_rows = sizes[0];
      config.block_cols = sizes[1];
    }
  }
  return config;
}

QuantizationConfig ReadGptq(const Json& json) {
  QuantizationConfig config;
  config.method = QuantMethod::kGptq;
  Require4Bits(json);
  config.group_size = ReadGroup(json);
  RequireText(json, "checkpoint_format", {"gptq", "gptq_v2"}, "gptq or gptq_v2");
  const auto format = json.Find("checkpoint_format");
  config.zero_offset = format && format->AsString() == "gptq_v2" ? 0 : 1;
  const auto marlin = json.Find("is_marlin_format");
  if (marlin && marlin->AsBool()) Refuse(*marlin, "false");
  const auto dynamic = json.Find("dynamic");
  if (dynamic && dynamic->Size() != 0) Refuse(*dynamic, "one configuration for all modules");
  config.is_symmetric = ReadBool(json, "sym", false);
  config.is_reordered = ReadBool(json, "desc_act", false) && config.group_size != -1;
  return config;
}

QuantizationConfig ReadAwq(const Json& json) {
  QuantizationConfig config;
  config.method = QuantMethod::kAwq;
  Require4Bits(json);
  config.group_size = ReadGroup(json);
  RequireText(json, "version", {"gemm"}, "gemm");
  return config;
}

}  // namespace

std::string_view QuantMethodText(QuantMethod method) {
  switch (method) {
    case QuantMethod::kFp8:
      return "FP8";
    case QuantMethod::kGptq:
      return "GPTQ 4-bit";
    case QuantMethod::kAwq:
      break;
  }
  return "AWQ 4-bit";
}

QuantizationConfig ParseQuantizationConfig(const Json& json) {
  const auto method = json.Find("quant_method");
  const std::string name = method ? method->AsString() : "gptq";  // files older than the key
  if (name == "fp8") return ReadFp8(json);
  if (name == "gptq") return ReadGptq(json);
  if (name == "awq") return ReadAwq(json);
  if (name == "compressed-tensors") return ReadCompressedTensors(json);
  Refuse(*method, "fp8, gptq, awq or compressed-tensors");
}

}  // namespace mixtral
