// SPDX-License-Identifier: Apache-2.0
// FNV-1a over the bytes of a word, mixed so that every bit of the hash is usable.
#include "data/words.h"

namespace mixtral::data {
namespace {

bool IsWordByte(unsigned char c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

std::vector<uint64_t> WordHashes(std::string_view text) {
  constexpr uint64_t kOffset = 0xCBF29CE484222325ULL, kPrime = 0x100000001B3ULL;  // FNV-1a
  std::vector<uint64_t> words;
  uint64_t hash = kOffset;
  bool is_inside = false;
  for (const char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (IsWordByte(byte)) {
      if (byte >= 'A' && byte <= 'Z') byte = static_cast<unsigned char>(byte + 32);
      hash = (hash ^ byte) * kPrime;
      is_inside = true;
    } else if (is_inside) {
      words.push_back(MixBits(hash));
      hash = kOffset;
      is_inside = false;
    }
  }
  if (is_inside) words.push_back(MixBits(hash));
  return words;
}

std::vector<uint64_t> GramHashes(std::span<const uint64_t> words, size_t n) {
  std::vector<uint64_t> grams;
  for (size_t i = 0; i + n <= words.size(); ++i) {
    uint64_t hash = 0;
    for (size_t j = 0; j < n; ++j) hash = MixBits(hash + 0x9E3779B97F4A7C15ULL + words[i + j]);
    grams.push_back(hash);
  }
  return grams;
}

}  // namespace mixtral::data
