// SPDX-License-Identifier: Apache-2.0
// Ranges and typed reads of model configs (config_check.h).
#include "spec/config_check.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

constexpr int kMaxDim = 1 << 20;
constexpr int kMaxLayers = 1024;
constexpr int kMaxExperts = 1024;
constexpr int kMaxHeadDim = 1024;
constexpr int kMaxContext = 1 << 24;
constexpr int kMaxWindow = 1 << 30;

void CheckRange(std::string_view name, int value, int min, int max) {
  if (value < min || value > max)
    Throw(ErrorCode::kCorrupt, "{}: expected {}..{}, found {}", name, min, max, value);
}

void CheckHeads(const ModelConfig& config, const FieldNames& names) {
  CheckRange(names.n_heads, config.n_heads, 1, kMaxDim);
  CheckRange(names.n_kv_heads, config.n_kv_heads, 1, config.n_heads);
  if (config.n_heads % config.n_kv_heads != 0)
    Throw(ErrorCode::kCorrupt, "{}: expected a divisor of {} ({}), found {}", names.n_kv_heads,
          config.n_heads, names.n_heads, config.n_kv_heads);
  CheckRange(names.head_dim, config.head_dim, 2, kMaxHeadDim);
  if (config.head_dim % 2 != 0)
    Throw(ErrorCode::kCorrupt, "{}: expected an even number, found {}", names.head_dim,
          config.head_dim);
  const int64_t width = int64_t{config.n_heads} * config.head_dim;
  if (width > kMaxDim)
    Throw(ErrorCode::kCorrupt, "{} x {}: expected at most {}, found {}", names.n_heads,
          names.head_dim, kMaxDim, width);
}

void CheckExperts(const ModelConfig& config, const FieldNames& names) {
  CheckRange(names.n_experts, config.n_experts, 0, kMaxExperts);
  const int k = config.experts_per_token;
  const int min = config.n_experts == 0 ? 0 : 1;
  if (k < min || k > config.n_experts)
    Throw(ErrorCode::kCorrupt, "{}: expected {}..{} ({}), found {}", names.experts_per_token, min,
          config.n_experts, names.n_experts, k);
}

}  // namespace

void CheckConfig(const ModelConfig& config, const FieldNames& names, Vocabulary vocabulary) {
  CheckRange(names.n_layers, config.n_layers, 1, kMaxLayers);
  CheckRange(names.dim, config.dim, 1, kMaxDim);
  CheckRange(names.ffn_dim, config.ffn_dim, 1, kMaxDim);
  CheckHeads(config, names);
  CheckRange(names.vocab_size, config.vocab_size, vocabulary == Vocabulary::kRequired ? 1 : 0,
             kMaxDim);
  CheckExperts(config, names);
  CheckRange(names.max_context, config.max_context, 1, kMaxContext);
  CheckRange(names.sliding_window, config.sliding_window, 0, kMaxWindow);
  if (!std::isfinite(config.rope_theta) || !(config.rope_theta > 0))
    Throw(ErrorCode::kCorrupt, "{}: expected a finite number above 0, found {}", names.rope_theta,
          config.rope_theta);
  if (!(config.norm_eps > 0 && config.norm_eps <= 1))
    Throw(ErrorCode::kCorrupt, "{}: expected a number above 0 and at most 1, found {}",
          names.norm_eps, config.norm_eps);
}

int ReadInt(const Json& object, std::string_view key) {
  constexpr int64_t kMin = std::numeric_limits<int>::min(), kMax = std::numeric_limits<int>::max();
  return static_cast<int>(object.At(key).AsInt(kMin, kMax));
}

int ReadInt(const Json& object, std::string_view key, int absent) {
  return object.Find(key) ? ReadInt(object, key) : absent;
}

float ReadFloat(const Json& object, std::string_view key, float absent) {
  const std::optional<Json> value = object.Find(key);
  if (!value) return absent;
  const double number = value->AsDouble();
  // A number beyond float must not be converted: that is undefined. NaN goes on to CheckConfig.
  if (std::fabs(number) > static_cast<double>(std::numeric_limits<float>::max()))
    Throw(ErrorCode::kCorrupt, "{}: expected a number that fits a 32-bit float, found {}",
          value->path(), number);
  return static_cast<float>(number);
}

bool HasKey(const Json& object, std::string_view key) {
  for (const std::string& name : object.Keys())
    if (name == key) return true;
  return false;
}

int DerivedHeadDim(const ModelConfig& config, const FieldNames& names) {
  CheckRange(names.dim, config.dim, 1, kMaxDim);
  CheckRange(names.n_heads, config.n_heads, 1, kMaxDim);
  if (config.dim % config.n_heads != 0)
    Throw(ErrorCode::kCorrupt, "{}: expected a divisor of {} ({}) when {} is not given, found {}",
          names.n_heads, config.dim, names.dim, names.head_dim, config.n_heads);
  return config.dim / config.n_heads;
}

void RefuseFeature(const Json& object, std::string_view key) {
  const std::optional<Json> value = object.Find(key);
  if (!value) return;
  const bool off = (value->IsBool() && !value->AsBool()) ||
                   (value->IsNumber() && value->AsDouble() == 0) ||
                   (value->IsString() && value->AsString().empty()) ||
                   ((value->IsArray() || value->IsObject()) && value->Size() == 0);
  if (!off)
    Throw(ErrorCode::kUnsupported, "{}: expected nothing, found {}, which is not supported",
          value->path(), Shown(*value));
}

std::string Shown(const Json& value) {
  if (value.IsObject()) return "an object";
  if (value.IsArray()) return "an array";
  return Printable(value.Dump());
}

}  // namespace mixtral
