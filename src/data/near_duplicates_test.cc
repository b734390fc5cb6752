// SPDX-License-Identifier: Apache-2.0
// Words, MinHash against the exact similarity, and the overlap filter.
#include "data/near_duplicates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/rng.h"
#include "data/overlap_filter.h"
#include "data/test_files.h"
#include "data/words.h"

namespace mixtral::data {
namespace {

TEST(Words, CaseAndPunctuationDoNotCount) {
  EXPECT_EQ(WordHashes("Hello, World-wide 42!"), WordHashes("  hello world (wide) 42"));
  EXPECT_NE(WordHashes("hello world"), WordHashes("helloworld"));
  EXPECT_EQ(WordHashes("na\xC3\xAFve caf\xC3\xA9").size(), 2u);
  EXPECT_TRUE(WordHashes(" ,.- ").empty());
}

TEST(Words, GramsAreOrderedAndCounted) {
  const auto words = WordHashes("a b c d");
  EXPECT_EQ(GramHashes(words, 2).size(), 3u);
  EXPECT_EQ(GramHashes(words, 4).size(), 1u);
  EXPECT_TRUE(GramHashes(words, 5).empty());
  EXPECT_NE(GramHashes(WordHashes("a b"), 2), GramHashes(WordHashes("b a"), 2));
}

/// n random words; every word at a multiple of `step` comes from another stream (0: none).
std::string RandomText(uint64_t seed, uint64_t n, uint64_t step, uint64_t other) {
  const CounterRng rng(seed), replaced(other);
  std::string text;
  for (uint64_t i = 0; i < n; ++i) {
    const CounterRng& from = step > 0 && i % step == 0 ? replaced : rng;
    text += "w" + std::to_string(from.Bits(i) % 100000) + " ";
  }
  return text;
}

double ExactSimilarity(const std::string& a, const std::string& b) {
  const auto set = [](const std::string& text) {
    const auto grams = GramHashes(WordHashes(text), kShingleWords);
    return std::set<uint64_t>(grams.begin(), grams.end());
  };
  const std::set<uint64_t> x = set(a), y = set(b);
  size_t n_common = 0;
  for (const uint64_t gram : x) n_common += y.count(gram);
  return static_cast<double>(n_common) / static_cast<double>(x.size() + y.size() - n_common);
}

/// The mean error over many pairs is near zero and single errors stay within four standard
/// deviations of a binomial of 128 draws.
TEST(MinHash, EstimatesTheExactSimilarity) {
  for (const uint64_t step : {7u, 20u, 60u, 300u}) {
    double error = 0;
    constexpr int kPairs = 40;
    for (uint64_t i = 0; i < kPairs; ++i) {
      const std::string a = RandomText(i, 600, 0, 0), b = RandomText(i, 600, step, 1000 + i);
      const double exact = ExactSimilarity(a, b);
      const double estimate =
          EstimatedSimilarity(MakeSignature(WordHashes(a)), MakeSignature(WordHashes(b)));
      EXPECT_NEAR(estimate, exact, 4 * std::sqrt(exact * (1 - exact) / 128) + 0.01) << step;
      error += (estimate - exact) / kPairs;
    }
    EXPECT_NEAR(error, 0, 0.03) << step;
  }
}

TEST(MinHash, ShortTexts) {
  const auto of = [](const char* text) { return MakeSignature(WordHashes(text)); };
  EXPECT_EQ(of("one two"), of("One, two."));
  EXPECT_LT(EstimatedSimilarity(of("one two"), of("one three")), 0.1);
  EXPECT_EQ(of(""), Signature{});
}

TEST(NearDuplicateIndex, FindsCopiesWithFewChangesAndNothingElse) {
  NearDuplicateIndex index(0.8);
  int n_found = 0, n_false = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const auto add = [&](uint64_t step) {
      return index.ContainsOrAdd(MakeSignature(WordHashes(RandomText(i, 400, step, 5000 + i))));
    };
    n_false += add(0) ? 1 : 0;
    n_found += add(200) ? 1 : 0;  // 2 of 400 words: similarity 0.95
    n_false += add(10) ? 1 : 0;   // every tenth word: 0.33
  }
  EXPECT_GE(n_found, 198);
  EXPECT_EQ(n_false, 0);
}

TEST(OverlapFilter, FindsThirteenWordsInARow) {
  const test::Folder folder;
  const std::string item =
      "Natalia sold clips to 48 of her friends in April and then she sold half";
  folder.Write("eval/sub/items.jsonl.gz",
               test::Gzip("{\"q\": [\"too short\", \"" + item + "\"], \"n\": 3}\n"));
  folder.Write("eval/readme.md", "canary GUID 26b5c67b 86ad 4f0a 1 2 3 4 5 6 7 8 9 10");
  OverlapFilter filter;
  filter.AddFiles(folder.path() + "/eval");
  filter.Finish();
  EXPECT_EQ(filter.n_short(), 1u);
  EXPECT_EQ(filter.n_grams(), 3u + 3u);
  const auto overlaps = [&](const std::string& text) { return filter.Overlaps(WordHashes(text)); };
  EXPECT_TRUE(
      overlaps("Before. natalia SOLD clips to 48 of her friends, in april and then she..."));
  EXPECT_FALSE(overlaps("Natalia sold clips to 48 of her friends in April and then he sold"));
  EXPECT_TRUE(overlaps("x canary guid 26b5c67b-86ad-4f0a 1 2 3 4 5 6 7 8 9 10 y"));
  EXPECT_FALSE(overlaps(""));
}

TEST(OverlapFilter, BadFilesAreRefusedWithTheirLine) {
  const test::Folder folder;
  OverlapFilter filter;
  EXPECT_THAT(test::MessageOf([&] { filter.AddFiles(folder.path() + "/none"); }),
              ::testing::HasSubstr("found none that match"));
  folder.Write("bad.jsonl", "{}\n{\n");
  EXPECT_THAT(test::MessageOf([&] { filter.AddFiles(folder.path()); }),
              ::testing::HasSubstr("bad.jsonl:2"));
}

}  // namespace
}  // namespace mixtral::data
