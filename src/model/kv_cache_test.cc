// SPDX-License-Identifier: Apache-2.0
// The page bookkeeping against a simple model: every sequence is a list of numbers, written to and
// read back from the cache's pages, over thousands of random operations.
#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "model/fake_backend.h"

namespace mixtral {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config;
  config.n_layers = 2;
  config.n_kv_heads = 3;
  config.head_dim = 4;
  config.max_context = 4096;
  return config;
}

// What is expected of the cache, and the cache.
class Model {
 public:
  Model(const KvCacheOptions& options, uint64_t seed)
      : options_(options), cache_(SmallConfig(), options, &backend_), rng_(seed) {}

  void RandomOperation() {
    const uint64_t kind = Random(14);
    if (kind == 0) return Open();
    if (sequences_.empty()) return;
    auto it = sequences_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(Random(sequences_.size())));
    if (kind == 1) return Fork(it->first);
    if (kind == 2) return Truncate(it->first);
    if (kind == 3) return Release(it->first);
    if (kind == 4) return Keep(it->first);
    if (kind == 5) return DropOne();
    if (kind == 6) return Attach(it->first);
    Write(it->first);
  }

  // Every sequence reads back what was written to it; pages in use and free pages add up.
  void Verify() const {
    std::set<int32_t> used;
    for (const auto& [seq, values] : sequences_) {
      ASSERT_EQ(cache_.Length(seq), std::ssize(values));
      for (int layer = 0; layer < 2; ++layer) {
        const KvView view = cache_.View(layer, seq);
        for (int64_t p = 0; p < std::ssize(values); ++p)
          for (int head = 0; head < 3; ++head) {
            const int64_t value = values[static_cast<size_t>(p)];
            ASSERT_EQ(Read(view.Key(head, p)), value * 8 + head + layer * 4) << seq << " at " << p;
            ASSERT_EQ(Read(view.Value(head, p)), -value * 8 - head - layer * 4);
          }
      }
      const int64_t pages =
          (reserved_.at(seq) + options_.page_positions - 1) / options_.page_positions;
      const KvView view = cache_.View(0, seq);
      used.insert(view.pages, view.pages + pages);
    }
    for (const auto& [page, values] : kept_) {
      used.insert(page);
      ASSERT_GT(cache_.PageUses(page), 0);
    }
    const int64_t total =
        (options_.n_positions + options_.page_positions - 1) / options_.page_positions;
    ASSERT_EQ(cache_.TotalPages(), total);
    ASSERT_EQ(cache_.FreePages(), total - std::ssize(used));
    ASSERT_EQ(cache_.FreePositions(), (total - std::ssize(used)) * options_.page_positions);
  }

  void ReleaseAll() {
    while (!sequences_.empty()) Release(sequences_.begin()->first);
    while (!kept_.empty()) DropOne();
  }
  int n_attached() const { return n_attached_; }
  int n_refused() const { return n_refused_; }
  int n_forks() const { return n_forks_; }
  const KvCache& cache() const { return cache_; }

 private:
  static int64_t Read(const std::byte* at) {
    int64_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  static void Put(std::byte* at, int64_t value) { std::memcpy(at, &value, sizeof value); }
  uint64_t Random(uint64_t n) { return rng_.Bits(counter_++) % n; }

  void Open() {
    const std::optional<SeqId> seq = cache_.Open();
    ASSERT_EQ(seq.has_value(), std::ssize(sequences_) < options_.max_sequences);
    if (!seq) return;
    ASSERT_TRUE(sequences_.emplace(*seq, std::vector<int64_t>()).second);
    reserved_[*seq] = 0;
  }

  void Fork(SeqId from) {
    const std::optional<SeqId> seq = cache_.Fork(from);
    ASSERT_EQ(seq.has_value(), std::ssize(sequences_) < options_.max_sequences);
    if (!seq) return;
    ++n_forks_;
    sequences_[*seq] = sequences_[from];
    reserved_[*seq] = std::ssize(sequences_[from]);
  }

  void Truncate(SeqId seq) {
    std::vector<int64_t>& values = sequences_[seq];
    values.resize(Random(values.size() + 1));
    cache_.Truncate(seq, std::ssize(values));
    reserved_[seq] = std::ssize(values);
  }

  void Release(SeqId seq) {
    cache_.Release(seq);
    sequences_.erase(seq);
    reserved_.erase(seq);
  }

  // A full page of a sequence, with what it holds, gets one more user.
  void Keep(SeqId seq) {
    const std::vector<int64_t>& values = sequences_[seq];
    const int64_t n_full = std::ssize(values) / options_.page_positions;
    if (n_full == 0) return;
    const auto idx = static_cast<int64_t>(Random(static_cast<uint64_t>(n_full)));
    const int32_t page = cache_.PageAt(seq, idx);
    const int uses = cache_.PageUses(page);
    cache_.KeepPage(page);
    ASSERT_EQ(cache_.PageUses(page), uses + 1);
    kept_.emplace_back(page, PageValues(seq, idx));
  }

  void DropOne() {
    if (kept_.empty()) return;
    const auto it = kept_.begin() + static_cast<std::ptrdiff_t>(Random(kept_.size()));
    cache_.DropPage(it->first);
    kept_.erase(it);
  }

  void Attach(SeqId seq) {
    std::vector<int64_t>& values = sequences_[seq];
    if (kept_.empty() || std::ssize(values) > 1000) return;
    values.resize(values.size() / static_cast<size_t>(options_.page_positions) *
                  static_cast<size_t>(options_.page_positions));
    cache_.Truncate(seq, std::ssize(values));
    const auto& [page, held] = kept_[Random(kept_.size())];
    cache_.Attach(seq, {&page, 1});
    values.insert(values.end(), held.begin(), held.end());
    reserved_[seq] = std::ssize(values);
    ++n_attached_;
  }

  std::vector<int64_t> PageValues(SeqId seq, int64_t idx) {
    const auto first = sequences_[seq].begin() + idx * options_.page_positions;
    return {first, first + options_.page_positions};
  }

  void Write(SeqId seq) {
    std::vector<int64_t>& values = sequences_[seq];
    const auto n = static_cast<int64_t>(Random(150));
    const int64_t free_before = cache_.FreePositions();
    const int64_t needed = cache_.PagesToReserve(seq, n);
    if (!cache_.Reserve(seq, n)) {
      ++n_refused_;
      ASSERT_EQ(cache_.FreePositions(), free_before);
      ASSERT_LT(free_before, n + options_.page_positions);  // one more page for a shared last one
      ASSERT_GT(needed, cache_.FreePages());
      return;
    }
    ASSERT_EQ(needed * options_.page_positions, free_before - cache_.FreePositions());
    reserved_[seq] = std::max(reserved_[seq], std::ssize(values) + n);
    ASSERT_TRUE(cache_.CanHold(seq, n));
    const auto used = static_cast<int64_t>(Random(static_cast<uint64_t>(n) + 1));  // not all
    for (int64_t i = 0; i < used; ++i) {
      values.push_back(next_value_++);
      const int64_t p = std::ssize(values) - 1;
      for (int layer = 0; layer < 2; ++layer) {
        const KvView view = cache_.View(layer, seq);
        for (int head = 0; head < 3; ++head) {
          Put(view.Key(head, p), values.back() * 8 + head + layer * 4);
          Put(view.Value(head, p), -values.back() * 8 - head - layer * 4);
        }
      }
    }
    cache_.Commit(seq, used);
  }

  KvCacheOptions options_;
  testing::FakeBackend backend_;
  KvCache cache_;
  CounterRng rng_;
  uint64_t counter_ = 0;
  int64_t next_value_ = 1;
  std::map<SeqId, std::vector<int64_t>> sequences_;
  std::map<SeqId, int64_t> reserved_;
  std::vector<std::pair<int32_t, std::vector<int64_t>>> kept_;
  int n_refused_ = 0, n_forks_ = 0, n_attached_ = 0;
};

TEST(KvCache, ThousandsOfRandomOperations) {
  for (const int page : {64, 128}) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      Model model(
          {.dtype = DType::kF16, .page_positions = page, .n_positions = 1500, .max_sequences = 7},
          seed);
      for (int i = 0; i < 1500; ++i) {
        model.RandomOperation();
        if (i % 10 == 0) model.Verify();
        if (HasFatalFailure()) return;
      }
      EXPECT_GT(model.n_refused(), 0);
      EXPECT_GT(model.n_forks(), 10);
      EXPECT_GT(model.n_attached(), 5);
      model.ReleaseAll();
      EXPECT_GE(model.cache().FreePositions(), 1500);
    }
  }
}

TEST(KvCache, ForkSharesPagesUntilSomeoneWrites) {
  testing::FakeBackend backend;
  KvCache cache(SmallConfig(), {.n_positions = 64 * 4, .max_sequences = 3}, &backend);
  const SeqId a = *cache.Open();
  ASSERT_TRUE(cache.Reserve(a, 100));
  cache.Commit(a, 100);
  const SeqId b = *cache.Fork(a);
  EXPECT_EQ(cache.FreePositions(), 128);
  EXPECT_EQ(cache.View(0, a).pages[1], cache.View(0, b).pages[1]);
  EXPECT_FALSE(cache.CanHold(a, 1)) << "the last page is shared, a write needs a copy";
  ASSERT_TRUE(cache.Reserve(b, 1));
  EXPECT_EQ(cache.FreePositions(), 64);
  EXPECT_EQ(cache.View(0, a).pages[0], cache.View(0, b).pages[0]);
  EXPECT_NE(cache.View(0, a).pages[1], cache.View(0, b).pages[1]);
  EXPECT_TRUE(cache.CanHold(a, 1)) << "the original is now alone on its page";
}

TEST(KvCache, AReplacedPageIsFreedAndTheOtherShared) {
  testing::FakeBackend backend;
  KvCache cache(SmallConfig(), {.n_positions = 64 * 4, .max_sequences = 2}, &backend);
  const SeqId a = *cache.Open(), b = *cache.Open();
  for (const SeqId seq : {a, b}) {
    ASSERT_TRUE(cache.Reserve(seq, 70));
    cache.Commit(seq, 70);
  }
  const int32_t page = cache.PageAt(a, 0), tail = cache.PageAt(b, 1);
  EXPECT_EQ(cache.FreePages(), 0);
  cache.ReplacePage(b, 0, page);
  EXPECT_EQ(cache.FreePages(), 1);
  EXPECT_EQ(cache.PageAt(b, 0), page);
  EXPECT_EQ(cache.PageAt(b, 1), tail);
  EXPECT_EQ(cache.PageUses(page), 2);
  cache.ReplacePage(b, 0, page);  // by itself: nothing changes
  EXPECT_EQ(cache.PageUses(page), 2);
  cache.Release(a);
  cache.Release(b);
  EXPECT_EQ(cache.FreePages(), 4);
}

TEST(KvCache, AKeptPageOutlivesItsSequenceAndIsCopiedBeforeAWrite) {
  testing::FakeBackend backend;
  KvCache cache(SmallConfig(), {.n_positions = 64 * 3, .max_sequences = 2}, &backend);
  const SeqId a = *cache.Open();
  ASSERT_TRUE(cache.Reserve(a, 64));
  cache.Commit(a, 64);
  const int32_t page = cache.PageAt(a, 0);
  cache.KeepPage(page);
  cache.Release(a);
  EXPECT_EQ(cache.FreePages(), 2);
  const SeqId b = *cache.Open();
  cache.Attach(b, {&page, 1});
  EXPECT_EQ(cache.Length(b), 64);
  EXPECT_EQ(cache.PagesToReserve(b, 1), 1);
  cache.Truncate(b, 10);
  EXPECT_EQ(cache.PagesToReserve(b, 1), 1) << "a copy of the kept page";
  ASSERT_TRUE(cache.Reserve(b, 1));
  EXPECT_NE(cache.View(0, b).pages[0], page);
  EXPECT_EQ(cache.PageUses(page), 1);
  cache.DropPage(page);
  EXPECT_EQ(cache.FreePages(), 2);
}

TEST(KvCache, FullIsAnAnswerNotAnError) {
  testing::FakeBackend backend;
  KvCache cache(SmallConfig(), {.n_positions = 65, .max_sequences = 1}, &backend);
  const SeqId seq = *cache.Open();
  EXPECT_FALSE(cache.Open().has_value());
  EXPECT_FALSE(cache.Fork(seq).has_value());
  EXPECT_FALSE(cache.Reserve(seq, 129));
  EXPECT_FALSE(cache.Reserve(seq, std::numeric_limits<int64_t>::max()));
  EXPECT_TRUE(cache.Reserve(seq, 128));
  EXPECT_EQ(cache.FreePositions(), 0);
}

TEST(KvCache, SizesAndOptions) {
  testing::FakeBackend backend;
  const ModelConfig config = SmallConfig();
  EXPECT_EQ(KvCache::BytesPerPosition(config, DType::kF16), 2u * 3 * 2 * 4 * 2);
  EXPECT_EQ(KvCache::BytesPerPosition(config, DType::kF32), 2u * 3 * 2 * 4 * 4);
  {
    const KvCache cache(config, {.n_positions = 65}, &backend);
    EXPECT_EQ(cache.TotalBytes(), 128u * 96);
    EXPECT_EQ(backend.n_live_caches, 1);
  }
  EXPECT_EQ(backend.n_live_caches, 0);
  EXPECT_THROW(KvCache(config, {.dtype = DType::kQ8_0, .n_positions = 1}, &backend), Error);
  EXPECT_THROW(KvCache(config, {.page_positions = 96, .n_positions = 1}, &backend), Error);
  EXPECT_THROW(KvCache(config, {.n_positions = 0}, &backend), Error);
  EXPECT_THROW(KvCache(config, {.n_positions = 1, .max_sequences = 0}, &backend), Error);
  EXPECT_THROW(KvCache(config, {.n_positions = int64_t{1} << 62}, &backend), Error);
}

}  // namespace
}  // namespace mixtral
