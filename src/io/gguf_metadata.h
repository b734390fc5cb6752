// SPDX-License-Identifier: Apache-2.0
// The key-value part of a GGUF file: walked and checked once, then read by key. Private to the GGUF
// reader.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "io/byte_reader.h"
#include "io/checkpoint.h"

namespace mixtral {

/// Types of metadata values; the numbers are the format's.
enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};
inline constexpr uint32_t kNumGgufTypes = 13;

class GgufMetadata {
 public:
  /// Reads count pairs from the reader, which ends up behind them. Throws Error{kCorrupt,
  /// kUnsupported} naming the key.
  static GgufMetadata Read(ByteReader* reader, std::span<const std::byte> bytes, uint64_t count);

  /// Every value as one flat object; arrays of more than 64 items are left out.
  const Json& json() const { return json_; }
  /// tokenizer.ggml.*; nullopt when there are no tokens.
  std::optional<GgufVocabulary> Vocabulary() const;
  /// An integer within [min, max], or absent.
  int64_t Int(std::string_view key, int64_t min, int64_t max, int64_t absent) const;

 private:
  struct Array {
    GgufType type;  // of the elements
    uint64_t count;
    size_t position;  // of the first element
  };
  /// A one-dimensional array of this element type, or nullopt when the key is absent.
  std::optional<Array> FindArray(std::string_view key, GgufType type) const;
  void ReadScores(GgufVocabulary* vocabulary) const;
  void ReadTypes(GgufVocabulary* vocabulary) const;
  std::optional<int32_t> TokenIdOf(std::string_view key, size_t n_tokens) const;
  bool Flag(std::string_view key, bool absent) const;

  std::span<const std::byte> bytes_;
  std::map<std::string, Array, std::less<>> arrays_;
  Json json_ = Json::Object();
};

}  // namespace mixtral
