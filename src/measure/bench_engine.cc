// SPDX-License-Identifier: Apache-2.0
// Batches of random tokens through Transformer::Forward, with the clock around it.
#include "measure/bench_engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/memory_limit.h"
#include "base/rng.h"
#include "base/strings.h"
#include "measure/random_weights.h"

namespace mixtral {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPagePositions = 64;

DType ExpertType(const LoadedModel& model) {
  const int32_t first = 0;
  ExpertLease lease;
  model.experts->Begin(0, {&first, 1});
  Check(model.experts->NextWave({&lease, 1}) == 1, "the first expert of the first layer");
  return lease.weights.gate.dtype;
}

void CheckCacheFits(const ModelConfig& config, const BenchSetup& setup) {
  const uint64_t bytes =
      KvCache::BytesPerPosition(config, setup.kv_dtype) * static_cast<uint64_t>(setup.n_positions);
  const uint64_t left = ReadMemoryLimits().Left();
  if (bytes > left)
    Throw(ErrorCode::kOutOfMemory,
          "cache of {} positions: expected at most {} (free memory), found {}", setup.n_positions,
          HumanBytes(left), HumanBytes(bytes));
}

}  // namespace

BenchEngine::BenchEngine(const Checkpoint& checkpoint, const BenchSetup& setup)
    : setup_(setup), backend_(MakeCpuBackend(setup.threads, setup.compute)) {
  LoadedModel model = LoadModel(checkpoint, backend_.get());
  weight_type_ = ExpertType(model);
  cost_.emplace(model, setup.kv_dtype);
  transformer_ = std::make_unique<Transformer>(
      std::move(model), backend_.get(),
      TransformerOptions{.max_batch_tokens = std::max(setup.max_rows, setup.max_sequences),
                         .max_logit_rows = setup.max_sequences});
  counter_.emplace(&*cost_, config());
  CheckCacheFits(config(), setup);
  kv_.emplace(config(),
              KvCacheOptions{.dtype = setup.kv_dtype,
                             .page_positions = kPagePositions,
                             .n_positions = setup.n_positions,
                             .max_sequences = setup.max_sequences},
              backend_.get());
  FillCache();
  logits_.resize(static_cast<size_t>(setup.max_sequences) *
                 static_cast<size_t>(config().vocab_size));
}

/// Pages that were never written are all one zero page of the system: reading them costs nothing.
void BenchEngine::FillCache() {
  const SeqId seq = kv_->Open().value();
  const auto n_pages = static_cast<size_t>(kv_->FreePositions() / kPagePositions);
  Check(kv_->Reserve(seq, kv_->FreePositions()), "an empty cache has all its positions");
  RandomWeights values(setup_.kv_dtype, 1, 1);
  for (int layer = 0; layer < config().n_layers; ++layer) {
    const KvView view = kv_->View(layer, seq);
    for (size_t i = 0; i < n_pages; ++i)
      values.Fill({view.layer_base + static_cast<size_t>(view.pages[i]) * view.page_bytes,
                   view.page_bytes});
  }
  kv_->Release(seq);
}

int64_t BenchEngine::PositionsFor(int n_sequences, int64_t depth, int64_t n_tokens) {
  return n_sequences * ((depth + n_tokens + kPagePositions - 1) / kPagePositions * kPagePositions);
}

std::vector<SeqId> BenchEngine::Open(int n_sequences, int64_t depth, int64_t n_tokens) {
  std::vector<SeqId> sequences;
  for (int i = 0; i < n_sequences; ++i) {
    const SeqId seq = kv_->Open().value();
    Check(kv_->Reserve(seq, depth + n_tokens), "the cache was made for this run");
    kv_->Commit(seq, depth);
    sequences.push_back(seq);
  }
  return sequences;
}

void BenchEngine::Release(const std::vector<SeqId>& sequences) {
  for (const SeqId seq : sequences) kv_->Release(seq);
}

std::vector<TokenId> BenchEngine::RandomTokens(size_t n, uint64_t seed, uint64_t stream) const {
  const CounterRng rng(seed, stream);
  std::vector<TokenId> tokens(n);
  for (size_t i = 0; i < n; ++i)
    tokens[i] = static_cast<TokenId>(rng.Bits(i) % static_cast<uint64_t>(config().vocab_size));
  return tokens;
}

void BenchEngine::Step(std::span<const TokenId> tokens, std::span<const SeqRange> ranges,
                       std::span<const int32_t> logit_rows, Counting counting, Sample* sample) {
  const int64_t vocab_size = config().vocab_size;
  const ForwardOutput output = {
      .logits = {logits_.data(), std::ssize(logit_rows), vocab_size, vocab_size}, .hidden = {}};
  const auto start = Clock::now();
  transformer_->Forward({.tokens = tokens, .ranges = ranges, .logit_rows = logit_rows}, *kv_,
                        output, counting == Counting::kOn ? &*counter_ : nullptr);
  sample->seconds += std::chrono::duration<double>(Clock::now() - start).count();
  sample->tokens += std::ssize(tokens);
  sample->cost += {cost_->SharedBytes() + counter_->TakeTouchedBytes(),
                   cost_->OpsPerToken() * static_cast<double>(tokens.size())};
  sample->cost += cost_->Logits(std::ssize(logit_rows));
  for (const SeqRange& range : ranges) sample->cost += cost_->Attention(range.start, range.n_rows);
}

std::optional<Sample> BenchEngine::Prefill(int n_tokens, int64_t depth, uint64_t seed) {
  const std::vector<TokenId> tokens = RandomTokens(static_cast<size_t>(n_tokens), seed, 0);
  const std::vector<SeqId> sequences = Open(1, depth, n_tokens);
  Sample sample;
  for (int done = 0; done < n_tokens && !Cancelled();) {
    const int n = std::min(setup_.max_rows, n_tokens - done);
    const SeqRange range = {sequences.front(), 0, n, depth + done};
    const int32_t last_row = n - 1;
    const bool is_last = done + n == n_tokens;
    Step(std::span(tokens).subspan(static_cast<size_t>(done), static_cast<size_t>(n)), {&range, 1},
         {&last_row, is_last ? 1u : 0u}, Counting::kOn, &sample);
    done += n;
  }
  Release(sequences);
  if (sample.tokens < n_tokens) return std::nullopt;
  return sample;
}

std::optional<Sample> BenchEngine::Decode(int n_sequences, int n_steps, int64_t depth,
                                          uint64_t seed, Counting counting) {
  const std::vector<SeqId> sequences = Open(n_sequences, depth, n_steps);
  std::vector<SeqRange> ranges(sequences.size());
  std::vector<int32_t> rows(sequences.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  Sample sample;
  int step = 0;
  for (; step < n_steps && !Cancelled(); ++step) {
    const auto tokens = RandomTokens(sequences.size(), seed, static_cast<uint64_t>(step));
    for (size_t i = 0; i < sequences.size(); ++i)
      ranges[i] = {sequences[i], static_cast<int>(i), 1, depth + step};
    Step(tokens, ranges, rows, counting, &sample);
  }
  Release(sequences);
  if (step < n_steps) return std::nullopt;
  return sample;
}

}  // namespace mixtral
