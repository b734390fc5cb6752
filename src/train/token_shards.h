// SPDX-License-Identifier: Apache-2.0
// Reader of token shard folders (docs/training-data.md): everything is validated when a folder is
// opened, documents are copied out of mapped files. No LibTorch here. Used by sampler.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace mixtral::train {

enum class ShardKind : uint8_t { kText, kSft, kPreference };

/// A document's tokens, and which of them are predicted (empty: all but the first).
struct Document {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss;
};

/// One domain and split (and, in preference data, one side) of a folder or several.
class DocumentSet {
 public:
  int64_t n_documents() const { return n_documents_; }
  int64_t n_tokens() const { return n_tokens_; }
  /// Throws kCorrupt when a token is outside the vocabulary or a mask byte is neither 0 nor 1.
  Document Read(int64_t index) const;

 private:
  friend class TokenShards;
  struct Shard {
    std::shared_ptr<const MappedFile> tokens, offsets, mask;  // mask may be null
    int64_t first_document = 0, n_documents = 0;
    int token_bytes = 2, vocab_size = 0;
  };
  std::vector<Shard> shards_;
  int64_t n_documents_ = 0, n_tokens_ = 0;
};

/// kHashes: every file is read once and held against its sha256 in shards.json.
enum class ShardCheck : uint8_t { kSizes, kHashes };

class TokenShards {
 public:
  /// Opens folders that belong together. Throws kNotFound, kCorrupt, kUnsupported naming the file
  /// and the key.
  explicit TokenShards(const std::vector<std::string>& folders,
                       ShardCheck check = ShardCheck::kSizes);

  ShardKind kind() const { return kind_; }
  int vocab_size() const { return vocab_size_; }
  int bos_id() const { return bos_id_; }
  int eos_id() const { return eos_id_; }
  const std::string& tokenizer_path() const { return tokenizer_path_; }
  std::vector<std::string> Domains(const std::string& split) const;
  /// part: "" for text and sft, "chosen" or "rejected". Empty set when there is none.
  const DocumentSet& Set(const std::string& domain, const std::string& split,
                         const std::string& part = "") const;

 private:
  void OpenFolder(const std::string& folder, ShardCheck check);

  ShardKind kind_ = ShardKind::kText;
  int vocab_size_ = 0, bos_id_ = -1, eos_id_ = -1;
  std::string tokenizer_path_, tokenizer_sha256_;
  std::map<std::string, DocumentSet> sets_;  // "split/domain/part"
};

}  // namespace mixtral::train
