// SPDX-License-Identifier: Apache-2.0
// Sizes are checked before any pointer is made from them; offsets once, when a folder is opened.
#include "train/token_shards.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/strings.h"

namespace mixtral::train {
namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 44;

uint64_t ReadLittle(const std::byte* p, int n_bytes) {
  uint64_t value = 0;
  for (int i = n_bytes - 1; i >= 0; --i) value = value << 8 | static_cast<uint64_t>(p[i]);
  return value;
}

uint64_t Offset(const MappedFile& offsets, int64_t i) {
  return ReadLittle(offsets.bytes().data() + i * 8, 8);
}

ShardKind ParseKind(const std::string& name) {
  if (name == "text") return ShardKind::kText;
  if (name == "sft") return ShardKind::kSft;
  if (name == "preference") return ShardKind::kPreference;
  Throw(ErrorCode::kUnsupported, "$.kind: expected text, sft or preference, found '{}'",
        Printable(name));
}

std::shared_ptr<const MappedFile> MapExactly(const std::string& path, int64_t bytes) {
  auto file = std::make_shared<const MappedFile>(path);
  if (file->bytes().size() != static_cast<size_t>(bytes))
    Throw(ErrorCode::kCorrupt, "file size: expected {} bytes (shards.json), found {}, in {}", bytes,
          file->bytes().size(), path);
  return file;
}

void CheckOffsets(const MappedFile& offsets, int64_t n_documents, int64_t n_tokens) {
  uint64_t last = 0;
  for (int64_t i = 0; i <= n_documents; ++i) {
    const uint64_t offset = Offset(offsets, i);
    const bool fits = i == 0 ? offset == 0 : offset > last;
    if (!fits || offset > static_cast<uint64_t>(n_tokens))
      Throw(ErrorCode::kCorrupt, "document offset {}: expected {} to {}, found {}, in {}", i,
            i == 0 ? 0 : last + 1, n_tokens, offset, offsets.path());
    last = offset;
  }
  if (last != static_cast<uint64_t>(n_tokens))
    Throw(ErrorCode::kCorrupt, "last document offset: expected {} (all tokens), found {}, in {}",
          n_tokens, last, offsets.path());
}

void CheckHash(const MappedFile& file, const std::string& expected) {
  Sha256 hash;
  hash.Update(file.bytes());
  const Sha256Digest digest = hash.Finish();
  if (Hex(digest) != expected)
    Throw(ErrorCode::kCorrupt, "sha256: expected {} (shards.json), found {}, in {}",
          Printable(expected), Hex(digest), file.path());
}

std::string Checked(const Json& value, bool empty_allowed) {
  std::string text = value.AsString();
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  });
  if (!plain || (text.empty() && !empty_allowed) || text.starts_with("."))
    Throw(ErrorCode::kCorrupt, "{}: expected a plain name, found '{}'", value.path(),
          Printable(text));
  return text;
}

}  // namespace

Document DocumentSet::Read(int64_t index) const {
  const auto after =
      std::upper_bound(shards_.begin(), shards_.end(), index,
                       [](int64_t i, const Shard& shard) { return i < shard.first_document; });
  const Shard& shard = *std::prev(after);
  const int64_t local = index - shard.first_document;
  const auto begin = static_cast<int64_t>(Offset(*shard.offsets, local));
  const auto end = static_cast<int64_t>(Offset(*shard.offsets, local + 1));
  Document document;
  document.tokens.reserve(static_cast<size_t>(end - begin));
  for (int64_t t = begin; t < end; ++t) {
    const uint64_t id =
        ReadLittle(shard.tokens->bytes().data() + t * shard.token_bytes, shard.token_bytes);
    if (id >= static_cast<uint64_t>(shard.vocab_size))
      Throw(ErrorCode::kCorrupt, "token {}: expected an id below {}, found {}, in {}", t,
            shard.vocab_size, id, shard.tokens->path());
    document.tokens.push_back(static_cast<int32_t>(id));
  }
  if (!shard.mask) return document;
  for (int64_t t = begin; t < end; ++t) {
    const auto bit = static_cast<uint8_t>(shard.mask->bytes()[static_cast<size_t>(t)]);
    if (bit > 1)
      Throw(ErrorCode::kCorrupt, "mask byte {}: expected 0 or 1, found {}, in {}", t, bit,
            shard.mask->path());
    document.loss.push_back(bit);
  }
  document.loss[0] = 0;
  return document;
}

TokenShards::TokenShards(const std::vector<std::string>& folders, ShardCheck check) {
  if (folders.empty())
    Throw(ErrorCode::kInvalidArgument, "data: expected at least one folder of token shards");
  for (const std::string& folder : folders) OpenFolder(folder, check);
  for (const auto& [key, set] : sets_) {
    if (!key.ends_with("/chosen")) continue;
    const std::string partner = key.substr(0, key.size() - 6) + "rejected";
    const auto it = sets_.find(partner);
    const int64_t found = it == sets_.end() ? 0 : it->second.n_documents();
    if (found != set.n_documents())
      Throw(ErrorCode::kCorrupt, "preference pairs {}: expected {} rejected documents, found {}",
            key, set.n_documents(), found);
  }
}

void TokenShards::OpenFolder(const std::string& folder, ShardCheck check) {
  const std::string path = folder + "/shards.json";
  WithContext(path, [&] {
    const Json json = Json::Parse(ReadTextFile(path), path);
    if (json.At("format").AsString() != "mixtral-token-shards")
      Throw(ErrorCode::kUnsupported, "$.format: expected mixtral-token-shards, found '{}'",
            Printable(json.At("format").AsString()));
    if (json.At("version").AsInt() != 1)
      Throw(ErrorCode::kUnsupported, "$.version: expected 1, found {}", json.At("version").AsInt());
    const ShardKind kind = ParseKind(json.At("kind").AsString());
    const auto vocab_size = static_cast<int>(json.At("vocab_size").AsInt(1, 1 << 30));
    const std::string type = json.At("token_dtype").AsString();
    if (type != "u16" && type != "u32")
      Throw(ErrorCode::kUnsupported, "$.token_dtype: expected u16 or u32, found '{}'",
            Printable(type));
    const Json tokenizer = json.At("tokenizer");
    const std::string sha256 = tokenizer.At("sha256").AsString();
    if (vocab_size_ != 0 &&
        (kind != kind_ || vocab_size != vocab_size_ || sha256 != tokenizer_sha256_))
      Throw(ErrorCode::kInvalidArgument,
            "shard folders: expected the kind, vocabulary and tokenizer of the first folder, found "
            "others");
    kind_ = kind;
    vocab_size_ = vocab_size;
    tokenizer_sha256_ = sha256;
    tokenizer_path_ = folder + "/" + Checked(tokenizer.At("file"), false);
    bos_id_ = static_cast<int>(json.At("bos_id").AsInt(-1, vocab_size - 1));
    eos_id_ = static_cast<int>(json.At("eos_id").AsInt(-1, vocab_size - 1));
    const Json shards = json.At("shards");
    for (size_t i = 0; i < shards.Size(); ++i) {
      const Json entry = shards.At(i);
      const std::string base = folder + "/" + Checked(entry.At("name"), false);
      const std::string split = Checked(entry.At("split"), false);
      const std::string domain = Checked(entry.At("domain"), false);
      const std::string part =
          kind == ShardKind::kPreference ? Checked(entry.At("part"), false) : "";
      DocumentSet::Shard shard;
      const int64_t n_tokens = entry.At("n_tokens").AsInt(0, kMaxTokens);
      shard.n_documents = entry.At("n_documents").AsInt(0, kMaxTokens);
      shard.token_bytes = type == "u16" ? 2 : 4;
      shard.vocab_size = vocab_size;
      shard.tokens = MapExactly(base + ".bin", n_tokens * shard.token_bytes);
      shard.offsets = MapExactly(base + ".idx", (shard.n_documents + 1) * 8);
      if (kind != ShardKind::kText) shard.mask = MapExactly(base + ".mask", n_tokens);
      if (check == ShardCheck::kHashes) {
        CheckHash(*shard.tokens, entry.At("bin_sha256").AsString());
        CheckHash(*shard.offsets, entry.At("idx_sha256").AsString());
        if (shard.mask) CheckHash(*shard.mask, entry.At("mask_sha256").AsString());
      }
      CheckOffsets(*shard.offsets, shard.n_documents, n_tokens);
      DocumentSet& set = sets_[split + "/" + domain + "/" + part];
      shard.first_document = set.n_documents_;
      set.n_documents_ += shard.n_documents;
      set.n_tokens_ += n_tokens;
      if (shard.n_documents > 0) set.shards_.push_back(std::move(shard));
    }
  });
}

std::vector<std::string> TokenShards::Domains(const std::string& split) const {
  std::set<std::string> domains;
  for (const auto& [key, set] : sets_) {
    const std::vector<std::string_view> parts = Split(key, '/');
    if (parts[0] == split && set.n_documents() > 0) domains.emplace(parts[1]);
  }
  return {domains.begin(), domains.end()};
}

const DocumentSet& TokenShards::Set(const std::string& domain, const std::string& split,
                                    const std::string& part) const {
  static const DocumentSet kNothing;
  const auto it = sets_.find(split + "/" + domain + "/" + part);
  return it == sets_.end() ? kNothing : it->second;
}

}  // namespace mixtral::train
