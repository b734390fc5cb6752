// SPDX-License-Identifier: Apache-2.0
// The tree lives in arrays as long as the cache has pages. Every node that a sequence uses has only
// ancestors that it uses too (Insert sees to it), and every node is younger than its children; so
// the oldest node that no sequence uses is always a leaf.
#include "engine/prefix_cache.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace mixtral {
namespace {

bool Same(const RoutingPolicy& a, const RoutingPolicy& b) {
  return a.k == b.k && a.force == b.force && a.ban == b.ban && a.bias == b.bias;
}

/// FNV-1a over ids, begun with where in the tree they stand.
uint64_t HashOf(int32_t policy, int32_t parent, std::span<const TokenId> tokens) {
  constexpr uint64_t kPrime = 0x100000001B3ULL;
  uint64_t hash = 0xCBF29CE484222325ULL;
  const auto add = [&](int32_t value) { hash = (hash ^ static_cast<uint32_t>(value)) * kPrime; };
  add(policy);
  add(parent);
  for (const TokenId token : tokens) add(token);
  return hash ^ (hash >> 32);  // buckets are chosen by the low bits
}

}  // namespace

PrefixCache::PrefixCache(KvCache* kv, int64_t max_pages)
    : kv_(kv),
      max_pages_(std::min(max_pages, kv->TotalPages())),
      page_positions_(static_cast<size_t>(kv->page_positions())) {
  const auto n = static_cast<size_t>(kv->TotalPages());
  nodes_.resize(n);
  tokens_.resize(n * page_positions_);
  buckets_.assign(std::bit_ceil(n + 1), kNone);
  path_.reserve(n);
}

PrefixCache::~PrefixCache() {
  while (oldest_ != kNone) RemoveNode(oldest_);
}

void PrefixCache::Find(const RoutingPolicy& policy, std::span<const TokenId> tokens,
                       int64_t max_positions, Hit* hit) const {
  hit->pages.clear();
  hit->idle_pages = 0;
  const int32_t policy_idx = FindPolicy(policy);
  if (policy_idx == kNone) return;
  const size_t n =
      std::min(tokens.size(), static_cast<size_t>(std::max<int64_t>(0, max_positions)));
  int32_t page = kNone;
  for (size_t begin = 0; begin + page_positions_ <= n; begin += page_positions_) {
    page = FindChild(policy_idx, page, tokens.subspan(begin, page_positions_));
    if (page == kNone) return;
    hit->pages.push_back(page);
    if (kv_->PageUses(page) == 1) ++hit->idle_pages;
  }
}

void PrefixCache::Use(const Hit& hit, SeqId seq) {
  Check(kv_->Length(seq) == 0, "a hit is the beginning of a sequence");
  kv_->Attach(seq, hit.pages);
  Touch(hit.pages);
}

void PrefixCache::Insert(const RoutingPolicy& policy, std::span<const TokenId> tokens, SeqId seq) {
  const auto n_full = static_cast<int64_t>(tokens.size() / page_positions_);
  if (n_full == 0 || max_pages_ == 0) return;
  Check(std::ssize(tokens) <= kv_->Length(seq), "tokens of committed positions");
  const int32_t policy_idx = AddPolicy(policy);
  path_.clear();
  int32_t parent = kNone;
  for (int64_t i = 0; i < n_full; ++i) {
    const auto of_page = tokens.subspan(static_cast<size_t>(i) * page_positions_, page_positions_);
    const int32_t own = kv_->PageAt(seq, i);
    const int32_t known = FindChild(policy_idx, parent, of_page);
    if (known == kNone) {
      // The path so far is in use by seq, so it is not what goes.
      if (n_pages_ == max_pages_ && !EvictOne()) break;
      AddNode(own, policy_idx, parent, of_page);
    } else if (known != own) {
      kv_->ReplacePage(seq, i, known);
    }
    parent = kv_->PageAt(seq, i);
    path_.push_back(parent);
  }
  Touch(path_);
}

bool PrefixCache::MakeFree(int64_t n_pages) {
  while (kv_->FreePages() < n_pages)
    if (!EvictOne()) return false;
  return true;
}

int64_t PrefixCache::IdlePages() const {
  int64_t n = 0;
  for (int32_t page = oldest_; page != kNone; page = nodes_[static_cast<size_t>(page)].newer)
    n += kv_->PageUses(page) == 1 ? 1 : 0;
  return n;
}

int32_t PrefixCache::FindPolicy(const RoutingPolicy& policy) const {
  for (size_t i = 0; i < policies_.size(); ++i)
    if (policies_[i].n_nodes > 0 && Same(policies_[i].policy, policy))
      return static_cast<int32_t>(i);
  return kNone;
}

/// A policy without nodes makes room for the next new one, so there are never more than pages.
int32_t PrefixCache::AddPolicy(const RoutingPolicy& policy) {
  const int32_t known = FindPolicy(policy);
  if (known != kNone) return known;
  const auto unused = std::find_if(policies_.begin(), policies_.end(),
                                   [](const KnownPolicy& p) { return p.n_nodes == 0; });
  if (unused != policies_.end()) {
    unused->policy = policy;
    return static_cast<int32_t>(unused - policies_.begin());
  }
  policies_.push_back({policy, 0});
  return static_cast<int32_t>(policies_.size()) - 1;
}

std::span<const TokenId> PrefixCache::TokensOf(int32_t page) const {
  return std::span(tokens_).subspan(static_cast<size_t>(page) * page_positions_, page_positions_);
}

int32_t PrefixCache::FindChild(int32_t policy, int32_t parent,
                               std::span<const TokenId> tokens) const {
  const uint64_t hash = HashOf(policy, parent, tokens);
  int32_t page = buckets_[hash & (buckets_.size() - 1)];
  for (; page != kNone; page = nodes_[static_cast<size_t>(page)].next_in_bucket) {
    const Node& node = nodes_[static_cast<size_t>(page)];
    if (node.hash == hash && node.policy == policy && node.parent == parent &&
        std::equal(tokens.begin(), tokens.end(), TokensOf(page).begin()))
      return page;
  }
  return kNone;
}

void PrefixCache::AddNode(int32_t page, int32_t policy, int32_t parent,
                          std::span<const TokenId> tokens) {
  Node& node = nodes_[static_cast<size_t>(page)];
  Check(node.policy == kNone, "a page is one node");
  kv_->KeepPage(page);
  node.parent = parent;
  node.policy = policy;
  node.n_children = 0;
  node.hash = HashOf(policy, parent, tokens);
  node.next_in_bucket = BucketOf(node.hash);
  BucketOf(node.hash) = page;
  std::copy(tokens.begin(), tokens.end(),
            tokens_.begin() +
                static_cast<std::ptrdiff_t>(page) * static_cast<std::ptrdiff_t>(page_positions_));
  if (parent != kNone) ++nodes_[static_cast<size_t>(parent)].n_children;
  ++policies_[static_cast<size_t>(policy)].n_nodes;
  ++n_pages_;
  LinkNewest(page);
}

void PrefixCache::RemoveNode(int32_t page) {
  Node& node = nodes_[static_cast<size_t>(page)];
  Check(node.n_children == 0, "only a leaf can go");
  int32_t* link = &BucketOf(node.hash);
  while (*link != page) link = &nodes_[static_cast<size_t>(*link)].next_in_bucket;
  *link = node.next_in_bucket;
  if (node.parent != kNone) --nodes_[static_cast<size_t>(node.parent)].n_children;
  --policies_[static_cast<size_t>(node.policy)].n_nodes;
  --n_pages_;
  Unlink(page);
  node = Node();
  kv_->DropPage(page);
}

bool PrefixCache::EvictOne() {
  for (int32_t page = oldest_; page != kNone; page = nodes_[static_cast<size_t>(page)].newer) {
    if (kv_->PageUses(page) > 1) continue;
    RemoveNode(page);
    return true;
  }
  return false;
}

void PrefixCache::Unlink(int32_t page) {
  const Node& node = nodes_[static_cast<size_t>(page)];
  (node.older == kNone ? oldest_ : nodes_[static_cast<size_t>(node.older)].newer) = node.newer;
  (node.newer == kNone ? newest_ : nodes_[static_cast<size_t>(node.newer)].older) = node.older;
}

void PrefixCache::LinkNewest(int32_t page) {
  Node& node = nodes_[static_cast<size_t>(page)];
  node.older = newest_;
  node.newer = kNone;
  (newest_ == kNone ? oldest_ : nodes_[static_cast<size_t>(newest_)].newer) = page;
  newest_ = page;
}

/// Deepest first, so that every node stays younger than its children.
void PrefixCache::Touch(std::span<const int32_t> path) {
  for (size_t i = path.size(); i > 0; --i) {
    Unlink(path[i - 1]);
    LinkNewest(path[i - 1]);
  }
}

}  // namespace mixtral
