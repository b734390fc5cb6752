// SPDX-License-Identifier: Apache-2.0
// A folder of token shards: shards.json as a struct and the mapped files, checked when they are
// opened. docs/training-data.md is the format. Written by ShardWriter; read by the commands of
// `mixtral data`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/token_id.h"

namespace mixtral::data {

enum class ShardKind : uint8_t { kText, kSft, kPreference };
enum class Split : uint8_t { kTrain, kHeldout };
enum class Part : uint8_t { kWhole, kChosen, kRejected };

std::string_view ShardKindName(ShardKind kind);  // "text", "sft", "preference"
std::string_view SplitName(Split split);         // "train", "heldout"
std::string_view PartName(Part part);            // "", "chosen", "rejected"

struct ShardInfo {
  std::string name = {}, domain = {};
  Split split = Split::kTrain;
  Part part = Part::kWhole;
  uint64_t n_tokens = 0, n_documents = 0, n_loss_tokens = 0;
  std::string bin_sha256 = {}, idx_sha256 = {}, mask_sha256 = {};
};

struct ShardSet {
  ShardKind kind = ShardKind::kText;
  int32_t vocab_size = 0, bos_id = -1, eos_id = -1;
  std::string tokenizer_file, tokenizer_sha256;
  std::string chat_format;  // empty for text
  std::vector<ShardInfo> shards;

  bool HasMask() const { return kind != ShardKind::kText; }
  size_t TokenBytes() const { return vocab_size <= 65536 ? 2 : 4; }
  Json ToJson() const;
  /// where: the file's name, for errors. Throws Error{kCorrupt} naming the path in the JSON,
  /// Error{kUnsupported} for another format or version.
  static ShardSet FromJson(std::string_view text, std::string_view where);
};

/// Reads folder/shards.json. Throws Error{kNotFound} with what the folder is instead.
ShardSet ReadShardSet(const std::string& folder);

/// One shard's files, mapped. Document contents are not checked until they are read.
class MappedShard {
 public:
  /// Throws Error{kCorrupt} when the files contradict shards.json or the index is not ascending.
  MappedShard(const std::string& folder, const ShardSet& set, const ShardInfo& info);

  uint64_t n_documents() const { return n_documents_; }
  uint64_t n_tokens() const { return n_tokens_; }
  uint64_t DocumentBegin(uint64_t document) const;  // document in [0, n_documents]
  /// Throws Error{kCorrupt} for an id outside the vocabulary.
  std::vector<TokenId> Tokens(uint64_t document) const;
  std::span<const uint8_t> Mask(uint64_t document) const;  // empty for text

  /// Reads everything: the three sha256, every id, every mask byte. Throws Error{kCorrupt} naming
  /// the file.
  void Verify() const;

 private:
  void CheckSizes() const;

  ShardInfo info_;
  int32_t vocab_size_;
  size_t token_bytes_;
  uint64_t n_documents_, n_tokens_;
  MappedFile bin_, idx_;
  std::vector<MappedFile> mask_;  // one or none
};

}  // namespace mixtral::data
