// SPDX-License-Identifier: Apache-2.0
// The tree against a naive model, a map from beginnings to times of use, over thousands of random
// operations on a real page bookkeeping.
#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/rng.h"
#include "model/fake_backend.h"

namespace mixtral {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config;
  config.n_layers = 1;
  config.n_kv_heads = 1;
  config.head_dim = 4;
  config.max_context = 4096;
  return config;
}

using Tokens = std::vector<TokenId>;

// Pages of tokens that are all the same: "1,2,2" is 192 tokens.
Tokens Pages(std::initializer_list<int> pages, size_t extra = 0) {
  Tokens tokens;
  for (const int page : pages) tokens.insert(tokens.end(), 64, page);
  tokens.insert(tokens.end(), extra, 99);
  return tokens;
}

class PrefixCacheTest : public ::testing::Test {
 protected:
  void Make(int64_t n_pages, int64_t max_pages) {
    cache_.reset();
    kv_.emplace(SmallConfig(), KvCacheOptions{.n_positions = n_pages * 64, .max_sequences = 8},
                &backend_);
    cache_.emplace(&*kv_, max_pages);
  }
  SeqId Computed(const Tokens& tokens) {
    const SeqId seq = *kv_->Open();
    EXPECT_TRUE(cache_->MakeFree(kv_->PagesToReserve(seq, std::ssize(tokens))));
    EXPECT_TRUE(kv_->Reserve(seq, std::ssize(tokens)));
    kv_->Commit(seq, std::ssize(tokens));
    return seq;
  }
  void Remember(const Tokens& tokens, const RoutingPolicy& policy = {}) {
    const SeqId seq = Computed(tokens);
    cache_->Insert(policy, tokens, seq);
    kv_->Release(seq);
  }
  size_t Found(const Tokens& tokens, const RoutingPolicy& policy = {}) {
    PrefixCache::Hit hit;
    cache_->Find(policy, tokens, std::ssize(tokens), &hit);
    return hit.pages.size();
  }

  testing::FakeBackend backend_;
  std::optional<KvCache> kv_;
  std::optional<PrefixCache> cache_;
};

TEST_F(PrefixCacheTest, FullPagesAreFoundByTheirTokens) {
  Make(20, 20);
  Remember(Pages({1, 2, 3}, 10));
  EXPECT_EQ(cache_->n_pages(), 3);
  EXPECT_EQ(kv_->FreePages(), 17);
  EXPECT_EQ(Found(Pages({1, 2, 3}, 10)), 3u);
  EXPECT_EQ(Found(Pages({1, 2, 4})), 2u);
  EXPECT_EQ(Found(Pages({2, 3})), 0u);
  EXPECT_EQ(Found(Pages({1}, 63)), 1u);
  EXPECT_EQ(Found(Tokens(63, 1)), 0u);
  PrefixCache::Hit hit;
  cache_->Find({}, Pages({1, 2, 3}), 191, &hit);
  EXPECT_EQ(hit.pages.size(), 2u) << "at most so many positions";
  EXPECT_EQ(hit.idle_pages, 2);
}

TEST_F(PrefixCacheTest, AnotherPolicyIsAnotherTree) {
  Make(20, 20);
  RoutingPolicy one;
  one.k = 1;
  Remember(Pages({1, 2}));
  EXPECT_EQ(Found(Pages({1, 2}), one), 0u);
  Remember(Pages({1}), one);
  EXPECT_EQ(Found(Pages({1, 2}), one), 1u);
  EXPECT_EQ(Found(Pages({1, 2})), 2u);
  one.ban = {3};
  EXPECT_EQ(Found(Pages({1, 2}), one), 0u);
  EXPECT_TRUE(cache_->MakeFree(20));
  EXPECT_EQ(cache_->n_pages(), 0);
  EXPECT_EQ(Found(Pages({1, 2})), 0u);
}

TEST_F(PrefixCacheTest, AHitBecomesTheBeginningOfASequence) {
  Make(20, 20);
  Remember(Pages({1, 2, 3}));
  PrefixCache::Hit hit;
  const Tokens tokens = Pages({1, 2, 5});
  cache_->Find({}, tokens, std::ssize(tokens), &hit);
  const SeqId seq = *kv_->Open();
  cache_->Use(hit, seq);
  EXPECT_EQ(kv_->Length(seq), 128);
  EXPECT_EQ(kv_->PageAt(seq, 1), hit.pages[1]);
  EXPECT_EQ(cache_->IdlePages(), 1);
  EXPECT_FALSE(cache_->MakeFree(19)) << "two are in use";
  EXPECT_EQ(cache_->n_pages(), 2);
  kv_->Release(seq);
  EXPECT_TRUE(cache_->MakeFree(20));
}

TEST_F(PrefixCacheTest, EqualBeginningsAreInMemoryOnce) {
  Make(20, 20);
  const Tokens tokens = Pages({1, 2}, 5);
  const SeqId a = Computed(tokens), b = Computed(tokens);
  EXPECT_EQ(kv_->FreePages(), 14);
  cache_->Insert({}, tokens, a);
  cache_->Insert({}, tokens, b);
  EXPECT_EQ(kv_->FreePages(), 16);
  EXPECT_EQ(kv_->PageAt(a, 1), kv_->PageAt(b, 1));
  EXPECT_NE(kv_->View(0, a).pages[2], kv_->View(0, b).pages[2]);
}

TEST_F(PrefixCacheTest, TheLeastRecentlyUsedGoesFirst) {
  Make(20, 3);
  Remember(Pages({1}));
  Remember(Pages({2}));
  Remember(Pages({3}));
  PrefixCache::Hit hit;
  cache_->Find({}, Pages({1}), 64, &hit);
  const SeqId seq = *kv_->Open();
  cache_->Use(hit, seq);
  kv_->Release(seq);
  Remember(Pages({4}));
  EXPECT_EQ(Found(Pages({2})), 0u);
  EXPECT_EQ(Found(Pages({1})) + Found(Pages({3})) + Found(Pages({4})), 3u);
  // A parent stays longer than its children.
  Remember(Pages({1, 7, 8}));
  EXPECT_EQ(Found(Pages({1, 7, 8})), 3u);
  Remember(Pages({9}));
  EXPECT_EQ(Found(Pages({1, 7, 8})), 2u);
}

TEST_F(PrefixCacheTest, KeepsTheBeginningWhenNothingCanGo) {
  Make(20, 2);
  const Tokens tokens = Pages({1, 2, 3});
  const SeqId seq = Computed(tokens);
  cache_->Insert({}, tokens, seq);
  EXPECT_EQ(Found(tokens), 2u);
  Make(20, 0);
  Remember(Pages({1}));
  EXPECT_EQ(cache_->n_pages(), 0);
}

// The model: every kept beginning with the time of its last use. A use of a beginning is one of all
// that it begins with, the shorter the later.
class Model {
 public:
  Model(int64_t n_pages, int64_t max_pages, uint64_t seed)
      : kv_(SmallConfig(), {.n_positions = n_pages * 64, .max_sequences = 6}, &backend_),
        cache_(&kv_, max_pages),
        max_pages_(static_cast<size_t>(max_pages)),
        rng_(seed) {}

  void RandomOperation() {
    switch (Random(4)) {
      case 0:
        return Begin();
      case 1:
        return Remember();
      case 2:
        return End();
      default:
        return MakeFree();
    }
  }

  void Verify() {
    ASSERT_EQ(cache_.n_pages(), std::ssize(kept_));
    int64_t idle = 0;
    for (const auto& [key, time] : kept_) idle += InUse(key) ? 0 : 1;
    ASSERT_EQ(cache_.IdlePages(), idle);
    std::set<int32_t> used;
    for (const auto& [seq, key] : open_)
      for (size_t i = 0; i < key.size() - 1; ++i)
        used.insert(kv_.PageAt(seq, static_cast<int64_t>(i)));
    ASSERT_EQ(kv_.FreePages(), kv_.TotalPages() - idle - std::ssize(used));
  }
  int n_hits() const { return n_hits_; }
  int n_evicted() const { return n_evicted_; }

 private:
  // A policy, then a number for each page.
  using Key = std::vector<int>;
  uint64_t Random(uint64_t n) { return rng_.Bits(counter_++) % n; }
  static RoutingPolicy PolicyOf(const Key& key) {
    RoutingPolicy policy;
    policy.k = key[0];
    return policy;
  }
  static Tokens TokensOf(const Key& key) {
    Tokens tokens;
    for (size_t i = 1; i < key.size(); ++i) tokens.insert(tokens.end(), 64, key[i]);
    return tokens;
  }
  static Key First(const Key& key, size_t n_pages) {
    return {key.begin(), key.begin() + 1 + static_cast<std::ptrdiff_t>(n_pages)};
  }
  bool InUse(const Key& key) const {
    return std::any_of(remembered_.begin(), remembered_.end(), [&](const auto& entry) {
      return entry.second.size() >= key.size() &&
             std::equal(key.begin(), key.end(), entry.second.begin());
    });
  }
  void Touch(const Key& key) {
    for (size_t n = key.size() - 1; n > 0; --n) kept_[First(key, n)] = ++time_;
  }
  bool EvictOne() {
    auto oldest = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it)
      if (!InUse(it->first) && (oldest == kept_.end() || it->second < oldest->second)) oldest = it;
    if (oldest == kept_.end()) return false;
    kept_.erase(oldest);
    ++n_evicted_;
    return true;
  }

  void Begin() {
    const std::optional<SeqId> seq = kv_.Open();
    if (!seq) return;
    Key key = {static_cast<int>(Random(2))};
    for (uint64_t n = 1 + Random(4); n > 0; --n) key.push_back(static_cast<int>(Random(3)));
    const Tokens tokens = TokensOf(key);
    size_t expected = 0;
    while (expected + 1 < key.size() && kept_.count(First(key, expected + 1)) > 0) ++expected;
    PrefixCache::Hit hit;
    cache_.Find(PolicyOf(key), tokens, std::ssize(tokens), &hit);
    ASSERT_EQ(hit.pages.size(), expected);
    n_hits_ += static_cast<int>(expected);
    cache_.Use(hit, *seq);
    if (expected > 0) {
      remembered_[*seq] = First(key, expected);
      Touch(First(key, expected));
    }
    const int64_t rest = std::ssize(tokens) - kv_.Length(*seq);
    const int64_t needed = kv_.PagesToReserve(*seq, rest);
    while (kv_.FreePages() < needed && cache_.MakeFree(kv_.FreePages() + 1))
      ASSERT_TRUE(EvictOne());
    if (!kv_.Reserve(*seq, rest)) {
      ASSERT_FALSE(EvictOne()) << "gave up with idle pages left";
      kv_.Release(*seq);
      remembered_.erase(*seq);
      return;
    }
    kv_.Commit(*seq, rest);
    open_[*seq] = key;
  }

  void Remember() {
    if (open_.empty()) return;
    auto it = open_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(Random(open_.size())));
    const auto& [seq, key] = *it;
    const size_t n = 1 + Random(key.size() - 1);
    const Key part = First(key, n);
    size_t done = 0;
    for (; done < n; ++done) {
      const Key now = First(key, done + 1);
      if (kept_.count(now) == 0) {
        if (kept_.size() == max_pages_ && !EvictOne()) break;
        kept_[now] = ++time_;
      }
      if (remembered_[seq].size() < now.size()) remembered_[seq] = now;
    }
    if (remembered_[seq].empty()) remembered_.erase(seq);
    cache_.Insert(PolicyOf(key), TokensOf(part), seq);
    Touch(First(key, done));
  }

  void End() {
    if (open_.empty()) return;
    auto it = open_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(Random(open_.size())));
    kv_.Release(it->first);
    remembered_.erase(it->first);
    open_.erase(it);
  }

  void MakeFree() {
    const auto wanted = static_cast<int64_t>(Random(8));
    const int64_t free_before = kv_.FreePages();
    const bool done = cache_.MakeFree(wanted);
    for (int64_t n = free_before; n < wanted; ++n)
      if (!EvictOne()) {
        ASSERT_FALSE(done);
        return;
      }
    ASSERT_TRUE(done);
  }

  testing::FakeBackend backend_;
  KvCache kv_;
  PrefixCache cache_;
  size_t max_pages_;
  CounterRng rng_;
  uint64_t counter_ = 0, time_ = 0;
  std::map<Key, uint64_t> kept_;
  std::map<SeqId, Key> open_;        // whole sequences
  std::map<SeqId, Key> remembered_;  // the part of them that stands in the cache
  int n_hits_ = 0, n_evicted_ = 0;
};

TEST(PrefixCacheModel, ThousandsOfRandomOperations) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    Model model(14, seed % 2 == 0 ? 14 : 6, seed);
    for (int i = 0; i < 4000; ++i) {
      model.RandomOperation();
      if (::testing::Test::HasFatalFailure()) return;
      model.Verify();
      if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_GT(model.n_hits(), 100);
    EXPECT_GT(model.n_evicted(), 50);
  }
}

}  // namespace
}  // namespace mixtral
