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
    const uint64_t kind = Random(10);
    if (kind == 0) return Open();
    if (sequences_.empty()) return;
    auto it = sequences_.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(Random(sequences_.size())));
    if (kind == 1) return Fork(it->first);
    if (kind == 2) return Truncate(it->first);
    if (kind == 3) return Release(it->first);
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
    const int64_t total =
        (options_.n_positions + options_.page_positions - 1) / options_.page_positions;
    ASSERT_EQ(cache_.FreePositions(), (total - std::ssize(used)) * options_.page_positions);
  }

  void ReleaseAll() {
    while (!sequences_.empty()) Release(sequences_.begin()->first);
  }
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

  void Write(SeqId seq) {
    std::vector<int64_t>& values = sequences_[seq];
    const auto n = static_cast<int64_t>(Random(150));
    const int64_t free_before = cache_.FreePositions();
    if (!cache_.Reserve(seq, n)) {
      ++n_refused_;
      ASSERT_EQ(cache_.FreePositions(), free_before);
      ASSERT_LT(free_before, n + options_.page_positions);  // one more page for a shared last one
      return;
    }
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
  int n_refused_ = 0, n_forks_ = 0;
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
