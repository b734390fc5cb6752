// SPDX-License-Identifier: Apache-2.0
// One opened model that runs timed steps on random tokens. Used by bench_run.cc; no sampling and no
// text, so that only the forward pass is measured.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "io/checkpoint.h"
#include "measure/step_cost.h"
#include "model/kv_cache.h"
#include "model/transformer.h"

namespace mixtral {

struct BenchSetup {
  int threads = 1;
  ComputeMode compute = ComputeMode::kFast;
  DType kv_dtype = DType::kF16;
  int max_rows = 512;       // of one step
  int max_sequences = 1;    // open at once
  int64_t n_positions = 0;  // of the cache, over all sequences
  const std::atomic<bool>* cancel = nullptr;
};

/// One timed run: time of its steps alone, and what they had to do.
struct Sample {
  int64_t tokens = 0;
  double seconds = 0;
  StepCost cost;
};

enum class Counting : uint8_t { kOff, kOn };  // a routing observer in every step

class BenchEngine {
 public:
  /// Loads the weights and fills the whole cache with random keys and values, so that any depth is
  /// there at once. Throws what LoadModel throws, Error{kOutOfMemory} for a cache that does not
  /// fit.
  BenchEngine(const Checkpoint& checkpoint, const BenchSetup& setup);

  /// n_tokens of one sequence behind `depth` positions, in steps of at most max_rows; the logits of
  /// the last one. nullopt: cancelled.
  std::optional<Sample> Prefill(int n_tokens, int64_t depth, uint64_t seed);
  /// n_steps steps of one token for each of n_sequences, each behind `depth` positions, all with
  /// logits. Without counting the bytes of experts are not in the sample's cost.
  std::optional<Sample> Decode(int n_sequences, int n_steps, int64_t depth, uint64_t seed,
                               Counting counting);

  /// Cache positions that a run takes up.
  static int64_t PositionsFor(int n_sequences, int64_t depth, int64_t n_tokens);

  const ModelConfig& config() const { return transformer_->config(); }
  const ModelCost& cost() const { return *cost_; }
  /// Type of most of what is multiplied: the experts', or the dense FFN's.
  DType weight_type() const { return weight_type_; }
  double MaxOverMean() const { return counter_->MaxOverMean(); }

 private:
  void FillCache();
  std::vector<SeqId> Open(int n_sequences, int64_t depth, int64_t n_tokens);
  void Release(const std::vector<SeqId>& sequences);
  std::vector<TokenId> RandomTokens(size_t n, uint64_t seed, uint64_t stream) const;
  void Step(std::span<const TokenId> tokens, std::span<const SeqRange> ranges,
            std::span<const int32_t> logit_rows, Counting counting, Sample* sample);
  bool Cancelled() const { return setup_.cancel != nullptr && setup_.cancel->load(); }

  BenchSetup setup_;
  std::unique_ptr<Backend> backend_;
  DType weight_type_ = DType::kF32;
  std::optional<ModelCost> cost_;
  std::unique_ptr<Transformer> transformer_;
  std::optional<ExpertCounter> counter_;
  std::optional<KvCache> kv_;
  std::vector<float> logits_;  // [max_sequences, V]
};

}  // namespace mixtral
