// SPDX-License-Identifier: Apache-2.0
// The paged key/value cache: sequences own lists of pages, pages may be shared by forks (copy on
// write). Bookkeeping only; the memory belongs to the backend. Running out of pages is an expected
// outcome, not an error.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/kv_view.h"
#include "model/batch.h"
#include "spec/config.h"
#include "tensor/dtype.h"

namespace mixtral {

struct KvCacheOptions {
  DType dtype = DType::kF16;  // kF32 or kF16; Error{kUnsupported} otherwise
  int page_positions = 64;    // a multiple of 64
  int64_t n_positions = 0;    // total capacity over all sequences, rounded up to pages
  int max_sequences = 1;
};

class KvCache {
 public:
  /// Throws Error{kOutOfMemory} naming the bytes asked for.
  KvCache(const ModelConfig& config, const KvCacheOptions& options, Backend* backend);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::optional<SeqId> Open();  // nullopt: max_sequences are open
  /// Makes room for n_tokens more positions (and copies a shared last page). false: not enough
  /// pages, nothing changed.
  bool Reserve(SeqId seq, int64_t n_tokens);
  /// Says that n_tokens more positions now hold valid entries. Called by Transformer::Forward.
  void Commit(SeqId seq, int64_t n_tokens);
  std::optional<SeqId> Fork(SeqId seq);        // shares all pages until one of the two writes
  void Truncate(SeqId seq, int64_t n_tokens);  // keeps the first n_tokens positions
  void Release(SeqId seq);

  int64_t Length(SeqId seq) const;  // committed positions
  /// True when n_tokens more positions are reserved and none of their pages is shared.
  bool CanHold(SeqId seq, int64_t n_tokens) const;
  int64_t FreePositions() const;
  /// Free pages that Reserve(seq, n_tokens) takes, the copy of a shared last page included.
  int64_t PagesToReserve(SeqId seq, int64_t n_tokens) const;
  int page_positions() const { return options_.page_positions; }
  int64_t TotalPages() const { return n_pages_; }
  int64_t FreePages() const { return static_cast<int64_t>(free_pages_.size()); }

  // Pages kept beyond the life of a sequence (engine/prefix_cache): whoever keeps one is one more
  // user of it, and nobody writes into a page that has several.
  int32_t PageAt(SeqId seq, int64_t page_idx) const;  // of a committed position
  int PageUses(int32_t page) const;                   // sequences and keepers; 0 = free
  void KeepPage(int32_t page);
  void DropPage(int32_t page);  // its last user makes it free
  /// Full pages of kept entries become the next positions of a sequence that ends at a page's end.
  void Attach(SeqId seq, std::span<const int32_t> pages);
  /// The sequence uses `page` in place of its own full page with the same entries.
  void ReplacePage(SeqId seq, int64_t page_idx, int32_t page);

  KvView View(int layer, SeqId seq) const;
  size_t TotalBytes() const;
  static size_t BytesPerPosition(const ModelConfig& config, DType dtype);  // all layers

 private:
  struct Sequence {
    bool open = false;
    int64_t length = 0;
    std::vector<int32_t> pages;
  };
  Sequence& Get(SeqId seq);
  const Sequence& Get(SeqId seq) const;
  int64_t TotalPositions() const;
  size_t PageOf(int64_t position) const;
  bool LastPageIsShared(const Sequence& sequence) const;
  int32_t TakePage();
  void CopyPage(int32_t from, int32_t to);

  Backend* backend_;
  KvCacheOptions options_;
  int n_layers_, n_kv_heads_, head_dim_;
  size_t page_bytes_ = 0, layer_bytes_ = 0;
  int32_t n_pages_ = 0;
  std::byte* memory_ = nullptr;
  std::vector<int32_t> free_pages_, page_uses_;
  std::vector<Sequence> sequences_;
};

}  // namespace mixtral
