// SPDX-License-Identifier: Apache-2.0
// A loaded model with its backend and cache, and the few calls that tests make of it: open a
// sequence, run a step, run a whole prompt, generate greedily. The tests' own small engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "io/checkpoint.h"
#include "model/kv_cache.h"
#include "model/loader.h"
#include "model/transformer.h"

namespace mixtral::testing {

/// How experts are handed to the backend: all at once, or in waves of a few in another order, as a
/// store that reads from disk may do.
enum class StoreKind : uint8_t {
  kResident,
  kOneAtATime,
  kReversedPairs,
  kFailsOnce,  // throws Error{kIo} in the second layer of the first step that gets there
};

struct HarnessOptions {
  int threads = 1;
  ComputeMode mode = ComputeMode::kFast;
  DType kv_dtype = DType::kF16;
  int page_positions = 64;
  int64_t n_positions = 4096;
  int max_sequences = 8;
  int max_batch_tokens = 512;
  int max_k = 0;
  StoreKind store = StoreKind::kResident;
};

/// New tokens of one sequence in one step.
struct Piece {
  SeqId seq;
  std::span<const int32_t> tokens;
  const RoutingPolicy* policy = nullptr;
};

/// What the observer saw, [layer][row-major].
struct Trace {
  std::vector<std::vector<float>> hidden;                         // [L + 1][T, D]; 0 = embedding
  std::vector<std::vector<float>> router_logits, expert_weights;  // [L][T, E], [L][T, K]
  std::vector<std::vector<int32_t>> expert_ids;                   // [L][T, K]
};

class Harness {
 public:
  explicit Harness(const std::string& path, const HarnessOptions& options = {});

  const ModelConfig& config() const { return transformer_->config(); }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const std::vector<std::string>& notices() const { return notices_; }
  KvCache& kv() { return *kv_; }
  Transformer& transformer() { return *transformer_; }

  /// One Forward over all pieces. Returns the logits of every row, [T, V]; final_norm, if given,
  /// receives [T, D].
  std::vector<float> Step(std::span<const Piece> pieces, std::vector<float>* final_norm = nullptr,
                          ForwardObserver* observer = nullptr);
  std::vector<float> Step(SeqId seq, std::span<const int32_t> tokens) {
    const Piece piece{seq, tokens};
    return Step({&piece, 1});
  }
  /// A new sequence, run in steps of these sizes (the last one repeats), then released. Logits of
  /// every row.
  std::vector<float> Run(std::span<const int32_t> tokens, std::span<const int> step_sizes = {},
                         const RoutingPolicy* policy = nullptr);
  /// The whole prompt in one step with everything that the observer sees.
  std::vector<float> RunTraced(std::span<const int32_t> tokens, Trace* trace,
                               std::vector<float>* final_norm);
  /// n tokens by pure argmax, no stop.
  std::vector<int32_t> Greedy(std::span<const int32_t> prompt, int n);

 private:
  HarnessOptions options_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<KvCache> kv_;
  std::vector<std::string> notices_;
};

int32_t Argmax(std::span<const float> row);
bool SameBits(std::span<const float> a, std::span<const float> b);
double MaxAbsDifference(std::span<const float> a, std::span<const float> b);

}  // namespace mixtral::testing
