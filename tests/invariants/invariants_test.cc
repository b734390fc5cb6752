// SPDX-License-Identifier: Apache-2.0
// Rule 9: results do not depend, bitwise, on how a prompt is split, on batch neighbours, threads,
// page layout, forks, or where experts live. Every case runs for each compute mode, cache type and
// weight type; CMake runs the binary once per instruction set.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

ModelConfig ConfigFor(DType dtype) {
  ModelConfig config = TinyConfig();
  config.vocab_size = 96;
  config.dim = 64;
  config.ffn_dim = 96;
  config.head_dim = 16;
  if (Info(dtype).block_elements == 256) {
    config = TinyConfig256();
    config.vocab_size = 96;
  }
  return config;
}

// One file per weight type, made at first use and removed at exit.
const std::string& ModelFile(DType dtype) {
  static const TempDir dir;
  static std::map<DType, std::string> files;
  std::string& path = files[dtype];
  if (path.empty()) {
    path = dir / (std::string(Name(dtype)) + ".gguf");
    WriteGguf(MakeTinyModel(ConfigFor(dtype), 5), path, {.dtype = dtype});
  }
  return path;
}

using Parameters = std::tuple<ComputeMode, DType, DType>;  // mode, cache type, weight type

class Invariants : public ::testing::TestWithParam<Parameters> {
 protected:
  HarnessOptions Options() const {
    HarnessOptions options;
    options.mode = std::get<0>(GetParam());
    options.kv_dtype = std::get<1>(GetParam());
    return options;
  }
  const std::string& File() const { return ModelFile(std::get<2>(GetParam())); }
  std::vector<int32_t> Tokens(int n, uint64_t seed = 1) const { return RandomTokens(n, 96, seed); }
};

// 150 tokens cross two borders of 64-position tiles.
TEST_P(Invariants, PrefillIsTokenByTokenIsAnySplit) {
  Harness harness(File(), Options());
  const std::vector<int32_t> tokens = Tokens(150);
  const std::vector<float> whole = harness.Run(tokens);
  EXPECT_TRUE(SameBits(whole, harness.Run(tokens, std::vector<int>{1})));
  const CounterRng rng(3);
  for (uint64_t split = 0; split < 4; ++split) {
    std::vector<int> sizes;
    for (uint64_t i = 0; i < 20; ++i)
      sizes.push_back(1 + static_cast<int>(rng.Bits(split * 20 + i) % 40));
    EXPECT_TRUE(SameBits(whole, harness.Run(tokens, sizes))) << "split " << split;
  }
}

// Three sequences of different lengths, one prefilling while the others decode.
TEST_P(Invariants, BatchIsSingles) {
  Harness harness(File(), Options());
  const std::vector<std::vector<int32_t>> prompts = {Tokens(70, 1), Tokens(9, 2), Tokens(130, 3)};
  const std::vector<std::vector<int>> steps = {{40, 1, 29}, {1, 7, 1}, {64, 65, 1}};
  std::vector<std::vector<float>> together(3);
  std::vector<SeqId> seqs;
  for (size_t s = 0; s < 3; ++s) seqs.push_back(harness.kv().Open().value());
  std::vector<size_t> done(3, 0);
  for (size_t step = 0; step < 3; ++step) {
    std::vector<Piece> pieces;
    for (size_t s = 0; s < 3; ++s) {
      const auto n = static_cast<size_t>(steps[s][step]);
      pieces.push_back({seqs[s], std::span(prompts[s]).subspan(done[s], n)});
      done[s] += n;
    }
    const std::vector<float> logits = harness.Step(pieces);
    auto at = logits.begin();
    for (size_t s = 0; s < 3; ++s) {
      const auto n = static_cast<std::ptrdiff_t>(pieces[s].tokens.size() * 96);
      together[s].insert(together[s].end(), at, at + n);
      at += n;
    }
  }
  for (size_t s = 0; s < 3; ++s)
    EXPECT_TRUE(SameBits(together[s], harness.Run(prompts[s]))) << "sequence " << s;
}

TEST_P(Invariants, AnyNumberOfThreads) {
  const std::vector<int32_t> tokens = Tokens(100);
  HarnessOptions options = Options();
  const std::vector<float> one = Harness(File(), options).Run(tokens, std::vector<int>{90, 1});
  for (const int threads : {2, 3, 5}) {
    options.threads = threads;
    EXPECT_TRUE(SameBits(one, Harness(File(), options).Run(tokens, std::vector<int>{90, 1})))
        << threads << " threads";
  }
}

TEST_P(Invariants, PageSizeIsIrrelevant) {
  const std::vector<int32_t> tokens = Tokens(200);
  HarnessOptions options = Options();
  const std::vector<float> small = Harness(File(), options).Run(tokens, std::vector<int>{190, 1});
  for (const int page : {128, 256}) {
    options.page_positions = page;
    EXPECT_TRUE(SameBits(small, Harness(File(), options).Run(tokens, std::vector<int>{190, 1})))
        << "pages of " << page;
  }
}

// Two sequences take pages in turn from a cache whose free list was shuffled before.
TEST_P(Invariants, FragmentedPagesAreIrrelevant) {
  Harness harness(File(), Options());
  const std::vector<int32_t> a = Tokens(200, 1), b = Tokens(200, 2);
  const std::vector<float> alone_a = harness.Run(a), alone_b = harness.Run(b);
  KvCache& kv = harness.kv();
  const SeqId hole = kv.Open().value(), other = kv.Open().value();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(kv.Reserve(hole, i * 64 + 64));
    ASSERT_TRUE(kv.Reserve(other, i * 64 + 64));
  }
  kv.Release(hole);
  const SeqId seq_a = kv.Open().value(), seq_b = kv.Open().value();
  std::vector<float> got_a, got_b;
  for (size_t at = 0; at < 200; at += 50) {
    for (auto* part : {&got_a, &got_b}) {
      const bool first = part == &got_a;
      const std::vector<float> logits =
          harness.Step(first ? seq_a : seq_b, std::span(first ? a : b).subspan(at, 50));
      part->insert(part->end(), logits.begin(), logits.end());
    }
  }
  const KvView view = kv.View(0, seq_a);
  EXPECT_NE(view.pages[1], view.pages[0] + 1) << "the pages were meant to be scattered";
  EXPECT_TRUE(SameBits(alone_a, got_a));
  EXPECT_TRUE(SameBits(alone_b, got_b));
}

// A fork in the middle of a page, both sides go on differently; then a truncated one goes back.
TEST_P(Invariants, ForksCopyOnWrite) {
  Harness harness(File(), Options());
  const std::vector<int32_t> stem = Tokens(90, 1), left = Tokens(50, 2), right = Tokens(50, 3);
  const auto joined = [&stem](const std::vector<int32_t>& tail) {
    std::vector<int32_t> all = stem;
    all.insert(all.end(), tail.begin(), tail.end());
    return all;
  };
  const size_t tail_size = 50 * 96;
  const std::vector<float> want_left = harness.Run(joined(left));
  const std::vector<float> want_right = harness.Run(joined(right));
  KvCache& kv = harness.kv();
  const SeqId a = kv.Open().value();
  harness.Step(a, stem);
  const SeqId b = kv.Fork(a).value();
  const std::array<Piece, 2> both = {Piece{a, left}, Piece{b, right}};
  const std::vector<float> logits = harness.Step(both);
  EXPECT_TRUE(SameBits(std::span(want_left).last(tail_size), std::span(logits).first(tail_size)));
  EXPECT_TRUE(SameBits(std::span(want_right).last(tail_size), std::span(logits).last(tail_size)));
  kv.Truncate(a, 90);
  EXPECT_TRUE(SameBits(std::span(want_right).last(tail_size), harness.Step(a, right)));
}

TEST_P(Invariants, ExpertsInWavesAreResidentExperts) {
  const std::vector<int32_t> tokens = Tokens(40);
  HarnessOptions options = Options();
  const std::vector<float> resident = Harness(File(), options).Run(tokens);
  for (const StoreKind store : {StoreKind::kOneAtATime, StoreKind::kReversedPairs}) {
    options.store = store;
    EXPECT_TRUE(SameBits(resident, Harness(File(), options).Run(tokens)));
  }
}

TEST_P(Invariants, ARoutingPolicyStaysInItsSequence) {
  HarnessOptions options = Options();
  options.max_k = 4;
  Harness harness(File(), options);
  const std::vector<int32_t> tokens = Tokens(30);
  RoutingPolicy policy;
  policy.k = 3;
  policy.ban = {1};
  const std::vector<float> plain = harness.Run(tokens);
  const std::vector<float> changed = harness.Run(tokens, {}, &policy);
  EXPECT_FALSE(SameBits(plain, changed));
  const SeqId a = harness.kv().Open().value(), b = harness.kv().Open().value();
  const std::array<Piece, 2> both = {Piece{a, tokens}, Piece{b, tokens, &policy}};
  const std::vector<float> logits = harness.Step(both);
  EXPECT_TRUE(SameBits(plain, std::span(logits).first(plain.size())));
  EXPECT_TRUE(SameBits(changed, std::span(logits).last(plain.size())));
}

std::string NameOf(const ::testing::TestParamInfo<Parameters>& info) {
  const auto [mode, kv, weights] = info.param;
  return std::string(mode == ComputeMode::kFast ? "fast" : "exact") + "_kv" +
         std::string(Name(kv)) + "_" + std::string(Name(weights));
}

// Every weight type by the fast path with the usual cache; the other cache and exact arithmetic
// with one type of each kind.
std::vector<Parameters> Grid() {
  std::vector<Parameters> grid;
  for (int i = 0; i < kNumMatrixDTypes; ++i)
    grid.emplace_back(ComputeMode::kFast, DType::kF16, static_cast<DType>(i));
  for (const DType weights : {DType::kBF16, DType::kQ8_0, DType::kQ4_K}) {
    grid.emplace_back(ComputeMode::kFast, DType::kF32, weights);
    grid.emplace_back(ComputeMode::kExact, DType::kF32, weights);
  }
  for (const DType weights : {DType::kF32, DType::kIQ4_XS})
    grid.emplace_back(ComputeMode::kExact, DType::kF16, weights);
  return grid;
}

INSTANTIATE_TEST_SUITE_P(All, Invariants, ::testing::ValuesIn(Grid()), NameOf);

}  // namespace
}  // namespace mixtral::testing
