// SPDX-License-Identifier: Apache-2.0
// Reader of GGUF metadata (gguf_metadata.h). Nothing is allocated from a claimed length: strings
// are views, arrays are counted against the bytes that are left.
#include "io/gguf_metadata.h"

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

// Least bytes that a value can take: a string is its length, an array its type and count.
constexpr uint64_t kMinBytes[kNumGgufTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

constexpr uint64_t kMaxPairs = 4096;    // files in use have fewer than 100
constexpr size_t kMaxKeyBytes = 65535;  // the format's own limit
constexpr uint64_t kMaxJsonItems = 64;
constexpr int kMaxDepth = 4;  // arrays of arrays; files in use have 1

uint64_t MinBytes(GgufType type) { return kMinBytes[static_cast<size_t>(type)]; }

GgufType ReadType(ByteReader* reader) {
  const auto type = reader->Read<uint32_t>("metadata value type");
  if (type >= kNumGgufTypes)
    Throw(ErrorCode::kCorrupt, "metadata value type: expected 0..{}, found {}", kNumGgufTypes - 1,
          type);
  return static_cast<GgufType>(type);
}

bool ReadBool(ByteReader* reader) {
  const auto value = reader->Read<uint8_t>("metadata value");
  if (value > 1)
    Throw(ErrorCode::kCorrupt, "metadata value: expected a bool of 0 or 1, found {}", value);
  return value != 0;
}

Json ReadScalar(ByteReader* reader, GgufType type) {
  constexpr std::string_view kWhat = "metadata value";
  switch (type) {
    case GgufType::kU8:
      return Json(int64_t{reader->Read<uint8_t>(kWhat)});
    case GgufType::kI8:
      return Json(int64_t{reader->Read<int8_t>(kWhat)});
    case GgufType::kU16:
      return Json(int64_t{reader->Read<uint16_t>(kWhat)});
    case GgufType::kI16:
      return Json(int64_t{reader->Read<int16_t>(kWhat)});
    case GgufType::kU32:
      return Json(int64_t{reader->Read<uint32_t>(kWhat)});
    case GgufType::kI32:
      return Json(int64_t{reader->Read<int32_t>(kWhat)});
    case GgufType::kF32:
      return Json(reader->Read<float>(kWhat));
    case GgufType::kBool:
      return Json(ReadBool(reader));
    case GgufType::kU64:
      return Json(reader->Read<uint64_t>(kWhat));
    case GgufType::kI64:
      return Json(reader->Read<int64_t>(kWhat));
    case GgufType::kF64:
      return Json(reader->Read<double>(kWhat));
    default:
      return Json(reader->ReadString(kWhat));
  }
}

struct ArrayHead {
  GgufType type;
  uint64_t count;
};

ArrayHead ReadArrayHead(ByteReader* reader) {
  const GgufType type = ReadType(reader);
  const auto count = reader->Read<uint64_t>("metadata array length");
  reader->RequireItems(count, MinBytes(type), "metadata array length");
  return {type, count};
}

void SkipItems(ByteReader* reader, ArrayHead head, int depth) {
  if (depth > kMaxDepth)
    Throw(ErrorCode::kUnsupported, "metadata value: expected arrays at most {} deep, found more",
          kMaxDepth);
  if (head.type != GgufType::kString && head.type != GgufType::kArray &&
      head.type != GgufType::kBool)
    return reader->Skip(head.count * MinBytes(head.type), "metadata array");
  for (uint64_t i = 0; i < head.count; ++i) {
    if (head.type == GgufType::kString) {
      reader->ReadString("metadata array item");
    } else if (head.type == GgufType::kBool) {
      ReadBool(reader);
    } else {
      SkipItems(reader, ReadArrayHead(reader), depth + 1);
    }
  }
}

/// The items as JSON; nullopt when there are more than kMaxJsonItems at any level. The bytes have
/// been walked by SkipItems before.
std::optional<Json> ItemsToJson(ByteReader* reader, ArrayHead head) {
  if (head.count > kMaxJsonItems) return std::nullopt;
  Json items = Json::Array();
  for (uint64_t i = 0; i < head.count; ++i) {
    if (head.type != GgufType::kArray) {
      items.Push(ReadScalar(reader, head.type));
      continue;
    }
    std::optional<Json> inner = ItemsToJson(reader, ReadArrayHead(reader));
    if (!inner) return std::nullopt;
    items.Push(std::move(*inner));
  }
  return items;
}

void RequireSameCount(std::string_view key, uint64_t found, size_t n_tokens) {
  if (found != n_tokens)
    Throw(ErrorCode::kCorrupt, "{}: expected {} items, as many as tokens, found {}", key, n_tokens,
          found);
}

std::string ReadKey(ByteReader* reader) {
  const std::string_view key = reader->ReadString("metadata key");
  if (key.empty() || key.size() > kMaxKeyBytes || !IsValidUtf8(key))
    Throw(ErrorCode::kCorrupt, "metadata key: expected 1..{} bytes of UTF-8, found '{}' ({} bytes)",
          kMaxKeyBytes, Printable(key), key.size());
  return std::string(key);
}

}  // namespace

GgufMetadata GgufMetadata::Read(ByteReader* reader, std::span<const std::byte> bytes,
                                uint64_t count) {
  if (count > kMaxPairs)
    Throw(ErrorCode::kCorrupt, "metadata count: expected at most {}, found {}", kMaxPairs, count);
  GgufMetadata metadata;
  metadata.bytes_ = bytes;
  std::set<std::string> keys;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key = ReadKey(reader);
    WithContext(fmt::format("key {}", Printable(key)), [&] {
      if (!keys.insert(key).second)
        Throw(ErrorCode::kCorrupt, "metadata key: expected once, found again");
      const GgufType type = ReadType(reader);
      if (type != GgufType::kArray) {
        metadata.json_.Set(key, ReadScalar(reader, type));
        return;
      }
      const ArrayHead head = ReadArrayHead(reader);
      ByteReader items = *reader;
      metadata.arrays_[key] = {head.type, head.count, reader->position()};
      SkipItems(reader, head, 1);
      if (std::optional<Json> json = ItemsToJson(&items, head))
        metadata.json_.Set(key, std::move(*json));
    });
  }
  return metadata;
}

int64_t GgufMetadata::Int(std::string_view key, int64_t min, int64_t max, int64_t absent) const {
  const std::optional<Json> value = json_.Find(key);
  return value ? value->AsInt(min, max) : absent;
}

bool GgufMetadata::Flag(std::string_view key, bool absent) const {
  const std::optional<Json> value = json_.Find(key);
  return value ? value->AsBool() : absent;
}

std::optional<int32_t> GgufMetadata::TokenIdOf(std::string_view key, size_t n_tokens) const {
  const std::optional<Json> value = json_.Find(key);
  if (!value) return std::nullopt;
  return static_cast<int32_t>(value->AsInt(0, static_cast<int64_t>(n_tokens) - 1));
}

std::optional<GgufMetadata::Array> GgufMetadata::FindArray(std::string_view key,
                                                           GgufType type) const {
  const auto found = arrays_.find(key);
  if (found == arrays_.end()) {
    if (json_.Find(key))
      Throw(ErrorCode::kCorrupt, "{}: expected an array, found a single value", key);
    return std::nullopt;
  }
  if (found->second.type != type)
    Throw(ErrorCode::kCorrupt, "{}: expected items of type {}, found type {}", key,
          static_cast<uint32_t>(type), static_cast<uint32_t>(found->second.type));
  return found->second;
}

void GgufMetadata::ReadScores(GgufVocabulary* vocabulary) const {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  vocabulary->scores.assign(vocabulary->tokens.size(), 0.0f);
  const std::optional<Array> scores = FindArray(kKey, GgufType::kF32);
  if (!scores) return;
  RequireSameCount(kKey, scores->count, vocabulary->tokens.size());
  ByteReader reader(bytes_, scores->position);
  for (float& score : vocabulary->scores) {
    score = reader.Read<float>(kKey);
    if (!std::isfinite(score))
      Throw(ErrorCode::kCorrupt, "{}: expected finite numbers, found {}", kKey, score);
  }
}

void GgufMetadata::ReadTypes(GgufVocabulary* vocabulary) const {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  constexpr int32_t kNormal = 1, kByte = 6;  // the least and the largest type
  vocabulary->types.assign(vocabulary->tokens.size(), kNormal);
  const std::optional<Array> types = FindArray(kKey, GgufType::kI32);
  if (!types) return;
  RequireSameCount(kKey, types->count, vocabulary->tokens.size());
  ByteReader reader(bytes_, types->position);
  for (int32_t& type : vocabulary->types) {
    type = reader.Read<int32_t>(kKey);
    if (type < kNormal || type > kByte)
      Throw(ErrorCode::kCorrupt, "{}: expected {}..{}, found {}", kKey, kNormal, kByte, type);
  }
}

std::optional<GgufVocabulary> GgufMetadata::Vocabulary() const {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  const std::optional<Array> tokens = FindArray(kKey, GgufType::kString);
  if (!tokens) return std::nullopt;
  if (tokens->count == 0 || tokens->count > std::numeric_limits<int32_t>::max())
    Throw(ErrorCode::kCorrupt, "{}: expected at least one token, found {}", kKey, tokens->count);
  const auto n = static_cast<size_t>(tokens->count);
  GgufVocabulary vocabulary;
  vocabulary.model = json_.At("tokenizer.ggml.model").AsString();
  vocabulary.tokens.reserve(n);  // the strings were walked: each has its bytes in the file
  ByteReader reader(bytes_, tokens->position);
  for (size_t i = 0; i < n; ++i) vocabulary.tokens.emplace_back(reader.ReadString(kKey));
  ReadScores(&vocabulary);
  ReadTypes(&vocabulary);
  vocabulary.bos_id = TokenIdOf("tokenizer.ggml.bos_token_id", n);
  vocabulary.eos_id = TokenIdOf("tokenizer.ggml.eos_token_id", n);
  vocabulary.unknown_id = TokenIdOf("tokenizer.ggml.unknown_token_id", n);
  vocabulary.add_bos = Flag("tokenizer.ggml.add_bos_token", true);
  vocabulary.add_eos = Flag("tokenizer.ggml.add_eos_token", false);
  vocabulary.add_space_prefix = Flag("tokenizer.ggml.add_space_prefix", true);
  return vocabulary;
}

}  // namespace mixtral
