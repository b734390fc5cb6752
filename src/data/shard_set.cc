// SPDX-License-Identifier: Apache-2.0
// Bytes from disk are believed after their sizes and order are checked, ids when they are read.
#include "data/shard_set.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/sha256.h"
#include "base/strings.h"

namespace mixtral::data {
namespace {

constexpr std::string_view kFormat = "mixtral-token-shards";
constexpr int kVersion = 1;
constexpr std::array<std::string_view, 3> kKinds = {"text", "sft", "preference"};
constexpr std::array<std::string_view, 2> kSplits = {"train", "heldout"};
constexpr std::array<std::string_view, 3> kParts = {"", "chosen", "rejected"};

template <class Enum, size_t kSize>
Enum FromName(const Json& value, const std::array<std::string_view, kSize>& names) {
  const std::string name = value.AsString();
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end())
    Throw(ErrorCode::kCorrupt, "{}: unknown value '{}'", value.path(), Printable(name));
  return static_cast<Enum>(it - names.begin());
}

uint64_t Count(const Json& object, std::string_view key) {
  return static_cast<uint64_t>(object.At(key).AsInt(0, int64_t{1} << 48));
}

std::string FileName(const Json& value) {
  const std::string name = value.AsString();
  const bool is_plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (name.empty() || name.front() == '.' || !is_plain)
    Throw(ErrorCode::kCorrupt, "{}: expected a file name of letters, digits, '.', '_' and '-'",
          value.path());
  return name;
}

ShardInfo ShardFromJson(const Json& json, ShardKind kind) {
  ShardInfo info;
  info.name = FileName(json.At("name"));
  info.domain = json.At("domain").AsString();
  info.split = FromName<Split>(json.At("split"), kSplits);
  if (kind == ShardKind::kPreference) info.part = FromName<Part>(json.At("part"), kParts);
  info.n_tokens = Count(json, "n_tokens");
  info.n_documents = Count(json, "n_documents");
  info.bin_sha256 = json.At("bin_sha256").AsString();
  info.idx_sha256 = json.At("idx_sha256").AsString();
  if (kind != ShardKind::kText) {
    info.n_loss_tokens = Count(json, "n_loss_tokens");
    info.mask_sha256 = json.At("mask_sha256").AsString();
  }
  return info;
}

void CheckSha256(const MappedFile& file, const std::string& expected) {
  Sha256 hash;
  hash.Update(file.bytes());
  if (const std::string found = Hex(hash.Finish()); found != expected)
    Throw(ErrorCode::kCorrupt, "sha256: expected {}, found {}, in {}", Printable(expected), found,
          file.path());
}

}  // namespace

std::string_view ShardKindName(ShardKind kind) { return kKinds[static_cast<size_t>(kind)]; }
std::string_view SplitName(Split split) { return kSplits[static_cast<size_t>(split)]; }
std::string_view PartName(Part part) { return kParts[static_cast<size_t>(part)]; }

Json ShardSet::ToJson() const {
  Json list = Json::Array();
  for (const ShardInfo& info : shards) {
    Json shard = Json::Object();
    shard.Set("name", info.name).Set("domain", info.domain).Set("split", SplitName(info.split));
    if (info.part != Part::kWhole) shard.Set("part", PartName(info.part));
    shard.Set("n_tokens", info.n_tokens).Set("n_documents", info.n_documents);
    if (HasMask()) shard.Set("n_loss_tokens", info.n_loss_tokens);
    shard.Set("bin_sha256", info.bin_sha256).Set("idx_sha256", info.idx_sha256);
    if (HasMask()) shard.Set("mask_sha256", info.mask_sha256);
    list.Push(std::move(shard));
  }
  Json json = Json::Object();
  json.Set("format", kFormat)
      .Set("version", kVersion)
      .Set("kind", ShardKindName(kind))
      .Set("token_dtype", TokenBytes() == 2 ? "u16" : "u32")
      .Set("vocab_size", vocab_size)
      .Set("bos_id", bos_id)
      .Set("eos_id", eos_id)
      .Set("tokenizer", Json::Object().Set("file", tokenizer_file).Set("sha256", tokenizer_sha256));
  if (HasMask()) json.Set("chat_format", chat_format);
  return json.Set("shards", std::move(list));
}

ShardSet ShardSet::FromJson(std::string_view text, std::string_view where) {
  return WithContext(where, [&] {
    const Json json = Json::Parse(text, where);
    if (json.At("format").AsString() != kFormat || json.At("version").AsInt() != kVersion)
      Throw(ErrorCode::kUnsupported, "token shards: expected {} version {}, found {} version {}",
            kFormat, kVersion, Printable(json.At("format").AsString()), json.At("version").AsInt());
    ShardSet set;
    set.kind = FromName<ShardKind>(json.At("kind"), kKinds);
    set.vocab_size = static_cast<int32_t>(json.At("vocab_size").AsInt(1, INT32_MAX));
    set.bos_id = static_cast<int32_t>(json.At("bos_id").AsInt(-1, set.vocab_size - 1));
    set.eos_id = static_cast<int32_t>(json.At("eos_id").AsInt(-1, set.vocab_size - 1));
    const std::string dtype = json.At("token_dtype").AsString();
    if (dtype != (set.TokenBytes() == 2 ? "u16" : "u32"))
      Throw(ErrorCode::kCorrupt, "$.token_dtype: '{}' does not go with a vocabulary of {}",
            Printable(dtype), set.vocab_size);
    set.tokenizer_file = FileName(json.At("tokenizer").At("file"));
    set.tokenizer_sha256 = json.At("tokenizer").At("sha256").AsString();
    if (set.HasMask()) set.chat_format = json.At("chat_format").AsString();
    const Json list = json.At("shards");
    for (size_t i = 0; i < list.Size(); ++i)
      set.shards.push_back(ShardFromJson(list.At(i), set.kind));
    return set;
  });
}

ShardSet ReadShardSet(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const std::string path = folder + "/shards.json";
  if (!fs::exists(path, ignored)) {
    const bool unfinished = fs::exists(folder + "/work", ignored);
    Throw(ErrorCode::kNotFound, "{}: expected a folder with shards.json, found {}", folder,
          unfinished                          ? "an unfinished one (run the same command again)"
          : fs::is_directory(folder, ignored) ? "a folder without it"
                                              : "no folder");
  }
  return ShardSet::FromJson(ReadTextFile(path), path);
}

MappedShard::MappedShard(const std::string& folder, const ShardSet& set, const ShardInfo& info)
    : info_(info),
      vocab_size_(set.vocab_size),
      token_bytes_(set.TokenBytes()),
      n_documents_(info.n_documents),
      n_tokens_(info.n_tokens),
      bin_(folder + "/" + info.name + ".bin"),
      idx_(folder + "/" + info.name + ".idx") {
  if (set.HasMask()) mask_.emplace_back(folder + "/" + info.name + ".mask");
  CheckSizes();
}

void MappedShard::CheckSizes() const {
  const auto check = [](const MappedFile& file, uint64_t expected) {
    if (file.bytes().size() != expected)
      Throw(ErrorCode::kCorrupt, "size: expected {} bytes, found {}, in {}", expected,
            file.bytes().size(), file.path());
  };
  check(bin_, n_tokens_ * token_bytes_);
  check(idx_, (n_documents_ + 1) * sizeof(uint64_t));
  for (const MappedFile& mask : mask_) check(mask, n_tokens_);
  if (DocumentBegin(0) != 0 || DocumentBegin(n_documents_) != n_tokens_)
    Throw(ErrorCode::kCorrupt, "index: expected 0 at the beginning and {} at the end, in {}",
          n_tokens_, idx_.path());
  for (uint64_t i = 0; i < n_documents_; ++i)
    if (DocumentBegin(i) >= DocumentBegin(i + 1))
      Throw(ErrorCode::kCorrupt, "index: expected ascending numbers, found {} after {}, in {}",
            DocumentBegin(i + 1), DocumentBegin(i), idx_.path());
}

uint64_t MappedShard::DocumentBegin(uint64_t document) const {
  uint64_t begin = 0;
  std::memcpy(&begin, idx_.bytes().data() + document * sizeof begin, sizeof begin);
  return begin;
}

std::vector<TokenId> MappedShard::Tokens(uint64_t document) const {
  const uint64_t begin = DocumentBegin(document), end = DocumentBegin(document + 1);
  std::vector<TokenId> tokens;
  tokens.reserve(end - begin);
  for (uint64_t i = begin; i < end; ++i) {
    uint32_t id = 0;  // little-endian, as every machine that this runs on
    std::memcpy(&id, bin_.bytes().data() + i * token_bytes_, token_bytes_);
    if (id >= static_cast<uint32_t>(vocab_size_))
      Throw(ErrorCode::kCorrupt, "token {}: expected an id below {}, found {}, in {}", i,
            vocab_size_, id, bin_.path());
    tokens.push_back(static_cast<TokenId>(id));
  }
  return tokens;
}

std::span<const uint8_t> MappedShard::Mask(uint64_t document) const {
  if (mask_.empty()) return {};
  const uint64_t begin = DocumentBegin(document);
  return {reinterpret_cast<const uint8_t*>(mask_[0].bytes().data()) + begin,
          DocumentBegin(document + 1) - begin};
}

void MappedShard::Verify() const {
  CheckSha256(bin_, info_.bin_sha256);
  CheckSha256(idx_, info_.idx_sha256);
  for (const MappedFile& mask : mask_) CheckSha256(mask, info_.mask_sha256);
  uint64_t n_loss_tokens = 0;
  for (uint64_t i = 0; i < n_documents_; ++i) {
    Tokens(i);
    const std::span<const uint8_t> mask = Mask(i);
    if (std::any_of(mask.begin(), mask.end(), [](uint8_t byte) { return byte > 1; }) ||
        (!mask.empty() && mask[0] != 0))
      Throw(ErrorCode::kCorrupt,
            "document {}: expected a mask of 0 and 1 that begins with 0, in {}", i,
            mask_[0].path());
    n_loss_tokens += static_cast<uint64_t>(std::count(mask.begin(), mask.end(), 1));
  }
  if (n_loss_tokens != info_.n_loss_tokens)
    Throw(ErrorCode::kCorrupt, "n_loss_tokens: expected {}, found {}, in {}", info_.n_loss_tokens,
          n_loss_tokens, bin_.path());
}

}  // namespace mixtral::data
