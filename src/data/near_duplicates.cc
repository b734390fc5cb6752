// SPDX-License-Identifier: Apache-2.0
// The parameters are fixed in the header, because shards made with others would differ.
#include "data/near_duplicates.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "data/words.h"

namespace mixtral::data {
namespace {

constexpr uint32_t kEmpty = 0xFFFFFFFF;
constexpr int kSlotBits = std::bit_width(kSignatureSlots) - 1;

/// An empty slot takes the value of a full one; which one is drawn by a hash of the slot and the
/// attempt, the same for every document.
void Densify(Signature* signature) {
  const Signature sparse = *signature;
  for (size_t slot = 0; slot < kSignatureSlots; ++slot) {
    for (uint64_t attempt = 1; (*signature)[slot] == kEmpty; ++attempt) {
      const uint64_t drawn = MixBits(MixBits(slot + 1) + attempt) >> (64 - kSlotBits);
      (*signature)[slot] = sparse[drawn];
    }
  }
}

uint64_t BandHash(const Signature& signature, size_t band) {
  uint64_t hash = band;
  for (size_t i = 0; i < kBandSlots; ++i) {
    hash = MixBits(hash + 0x9E3779B97F4A7C15ULL + signature[band * kBandSlots + i]);
  }
  return hash;
}

}  // namespace

Signature MakeSignature(std::span<const uint64_t> words) {
  Signature signature = {};
  if (words.empty()) return signature;
  signature.fill(kEmpty);
  for (const uint64_t gram : GramHashes(words, std::min(kShingleWords, words.size()))) {
    uint32_t& slot = signature[gram >> (64 - kSlotBits)];
    slot = std::min({slot, static_cast<uint32_t>(gram), kEmpty - 1});
  }
  Densify(&signature);
  return signature;
}

double EstimatedSimilarity(const Signature& a, const Signature& b) {
  size_t n_equal = 0;
  for (size_t i = 0; i < kSignatureSlots; ++i) n_equal += a[i] == b[i] ? 1 : 0;
  return static_cast<double>(n_equal) / kSignatureSlots;
}

bool NearDuplicateIndex::ContainsOrAdd(const Signature& signature) {
  std::array<uint64_t, kBands> hashes;
  for (size_t band = 0; band < kBands; ++band) {
    hashes[band] = BandHash(signature, band);
    const auto [begin, end] = bands_[band].equal_range(hashes[band]);
    for (auto it = begin; it != end; ++it) {
      if (EstimatedSimilarity(signatures_[it->second], signature) >= threshold_) return true;
    }
  }
  const auto document = static_cast<uint32_t>(signatures_.size());
  signatures_.push_back(signature);
  for (size_t band = 0; band < kBands; ++band) bands_[band].emplace(hashes[band], document);
  return false;
}

}  // namespace mixtral::data
