// SPDX-License-Identifier: Apache-2.0
// Full pages of keys and values kept after their sequences, found again by the tokens that they
// hold: a radix tree whose edges are whole pages. What is equal so far (tokens and routing policy)
// has the same keys and values, bitwise, so a page can stand for any sequence that begins so.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/kv_cache.h"
#include "moe/routing.h"

namespace mixtral {

/// Not thread-safe. Allocates when it is made, and for a policy that it has not seen.
class PrefixCache {
 public:
  /// Keeps at most max_pages pages of kv, which must outlive it.
  PrefixCache(KvCache* kv, int64_t max_pages);
  ~PrefixCache();  // gives all pages back
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  struct Hit {
    std::vector<int32_t> pages;  // of the longest known beginning, in order
    int64_t idle_pages = 0;      // of them, used by no sequence: they count in IdlePages()
  };
  /// Looks for the beginning of tokens, at most max_positions of it. Changes nothing. hit is
  /// overwritten (its memory is used again).
  void Find(const RoutingPolicy& policy, std::span<const TokenId> tokens, int64_t max_positions,
            Hit* hit) const;
  /// Makes the pages of a hit the beginning of an empty sequence, and the last to be evicted.
  void Use(const Hit& hit, SeqId seq);
  /// Keeps the full pages of seq, whose committed positions hold these tokens. A page that is known
  /// already takes the place of the sequence's own, so equal beginnings are in memory once. Evicts
  /// what was not used for longest when max_pages are kept; keeps less when nothing can go.
  void Insert(const RoutingPolicy& policy, std::span<const TokenId> tokens, SeqId seq);
  /// Frees pages until kv has n_pages free ones, those not used for longest first, never one that
  /// a sequence uses. false: there are not enough.
  bool MakeFree(int64_t n_pages);

  int64_t n_pages() const { return n_pages_; }
  /// Pages that no sequence uses: MakeFree could free all of them.
  int64_t IdlePages() const;

 private:
  // A page is at most one node, so nodes are numbered like pages.
  struct Node {
    int32_t parent = kNone;  // kNone: a first page
    int32_t policy = kNone;  // kNone: not a node
    int32_t n_children = 0;
    int32_t older = kNone, newer = kNone;  // by last use; a child is older than its parent
    int32_t next_in_bucket = kNone;
    uint64_t hash = 0;
  };
  struct KnownPolicy {
    RoutingPolicy policy;
    int64_t n_nodes = 0;
  };
  static constexpr int32_t kNone = -1;

  int32_t FindPolicy(const RoutingPolicy& policy) const;
  int32_t AddPolicy(const RoutingPolicy& policy);
  std::span<const TokenId> TokensOf(int32_t page) const;
  int32_t FindChild(int32_t policy, int32_t parent, std::span<const TokenId> tokens) const;
  void AddNode(int32_t page, int32_t policy, int32_t parent, std::span<const TokenId> tokens);
  void RemoveNode(int32_t page);
  bool EvictOne();
  void Unlink(int32_t page);
  void LinkNewest(int32_t page);
  void Touch(std::span<const int32_t> path);
  int32_t& BucketOf(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }

  KvCache* kv_;
  int64_t max_pages_, n_pages_ = 0;
  size_t page_positions_;
  std::vector<Node> nodes_;       // [pages of kv]
  std::vector<TokenId> tokens_;   // [pages of kv, page_positions]
  std::vector<int32_t> buckets_;  // a power of two of lists
  int32_t oldest_ = kNone, newest_ = kNone;
  std::vector<KnownPolicy> policies_;
  std::vector<int32_t> path_;  // scratch of Insert
};

}  // namespace mixtral
