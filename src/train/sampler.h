// SPDX-License-Identifier: Apache-2.0
// Which documents a training step sees: a function of seed and position alone, the same on every
// rank, with a state of a few numbers that a checkpoint keeps. No LibTorch here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "train/token_shards.h"

namespace mixtral::train {

struct SamplerOptions {
  int64_t window = 1024;                  // tokens of a window at most
  bool cross_documents = false;           // attention and loss cross documents (text only)
  std::map<std::string, double> weights;  // per domain; empty: by number of tokens
  uint64_t seed = 0;
};

/// A window of a text or sft set: documents or pieces of them. For preference data two: the chosen
/// and the rejected answer of one pair.
using Window = std::vector<Document>;

class Sampler {
 public:
  /// Throws kInvalidArgument: a weight for a domain that is not there, no domain at all.
  Sampler(const TokenShards& shards, const std::string& split, SamplerOptions options);

  Window Next();
  /// Passes over all documents of the domain that has seen the fewest.
  int64_t Epochs() const;

  Json State() const;
  void Restore(const Json& state);  // throws kCorrupt

 private:
  struct Cursor {
    std::string domain;
    double weight = 0;
    const DocumentSet *documents = nullptr, *partners = nullptr;
    int64_t epoch = 0, next = 0, offset = 0;
    std::vector<int64_t> order;  // of the epoch
  };
  void Shuffle(Cursor* cursor) const;
  int64_t Take(Cursor* cursor) const;  // index of the document at the cursor
  void Advance(Cursor* cursor) const;
  Window TextWindow(Cursor* cursor) const;
  Window SftWindow(Cursor* cursor) const;
  Window PairWindow(Cursor* cursor) const;

  const TokenShards& shards_;
  SamplerOptions options_;
  std::vector<Cursor> cursors_;
  int64_t n_drawn_ = 0;
};

/// The first n windows of a domain in file order, for evaluation. Text and sft.
std::vector<Window> HeldOutWindows(const TokenShards& shards, const std::string& domain,
                                   const SamplerOptions& options, int64_t n);

}  // namespace mixtral::train
