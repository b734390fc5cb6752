// SPDX-License-Identifier: Apache-2.0
// Texts as sequences of word hashes: what near-duplicate detection and the overlap filter compare.
// Letters are lower-cased (ASCII), every run of ASCII punctuation and space separates, other
// characters belong to words.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mixtral::data {

std::vector<uint64_t> WordHashes(std::string_view text);

/// The hash of n words in order: of words[i, i + n) for every i. Empty when there are fewer.
std::vector<uint64_t> GramHashes(std::span<const uint64_t> words, size_t n);

/// The finaliser of splitmix64: a bijection whose every output bit depends on every input bit.
constexpr uint64_t MixBits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace mixtral::data
