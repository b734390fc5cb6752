// SPDX-License-Identifier: Apache-2.0
// Near-duplicate documents by MinHash and locality-sensitive hashing. A signature estimates the
// Jaccard similarity of two documents' sets of word 5-grams; documents that share a band of it are
// compared. docs/training-data.md has the parameters and what they catch.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mixtral::data {

constexpr size_t kSignatureSlots = 128;
constexpr size_t kShingleWords = 5;
constexpr size_t kBandSlots = 8;  // 16 bands: half of the pairs of similarity 0.71 share one
constexpr size_t kBands = kSignatureSlots / kBandSlots;

using Signature = std::array<uint32_t, kSignatureSlots>;

/// One-permutation MinHash (Li, Owen, Zhang 2012) with the densification of Shrivastava (2017):
/// every shingle is hashed once. words: of WordHashes. A text of fewer than kShingleWords words is
/// one shingle; one without words has the signature of all zeros.
Signature MakeSignature(std::span<const uint64_t> words);

double EstimatedSimilarity(const Signature& a, const Signature& b);

/// Documents seen so far. About 1 kB of memory each.
class NearDuplicateIndex {
 public:
  explicit NearDuplicateIndex(double threshold) : threshold_(threshold) {}
  /// true: an earlier document is at least as similar as the threshold. Otherwise this one is
  /// added.
  bool ContainsOrAdd(const Signature& signature);

 private:
  double threshold_;
  std::vector<Signature> signatures_;
  std::array<std::unordered_multimap<uint64_t, uint32_t>, kBands> bands_;
};

}  // namespace mixtral::data
