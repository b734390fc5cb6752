// SPDX-License-Identifier: Apache-2.0
// Writes documents to shards, one open shard per domain and split. Files grow in the work folder
// and are moved to the output folder whole.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "data/document.h"
#include "data/shard_set.h"

namespace mixtral::data {

class ShardWriter {
 public:
  /// set: everything but the shards. A shard ends with the document that brings it to
  /// max_shard_tokens.
  ShardWriter(ShardSet set, std::string work_folder, std::string folder, uint64_t max_shard_tokens);
  ~ShardWriter();

  /// documents: one, or chosen and rejected for preference sets. Throws Error{kIo}.
  void Add(const std::string& domain, Split split, std::span<const Document> documents);
  /// Ends all shards and returns the set with them, in the order of `domains`.
  ShardSet Finish(const std::vector<std::string>& domains);

 private:
  class OpenShard;
  using Key = std::pair<std::string, Split>;
  struct Series {
    std::vector<std::unique_ptr<OpenShard>> parts;  // open now
    std::vector<ShardInfo> done;
    size_t n_shards = 0;
  };
  void Open(const Key& key, Series* series, size_t n_parts);
  void Close(Series* series);

  ShardSet set_;
  std::string work_folder_, folder_;
  uint64_t max_shard_tokens_;
  std::map<Key, Series> series_;
};

}  // namespace mixtral::data
