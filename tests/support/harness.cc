// SPDX-License-Identifier: Apache-2.0
// Batches are built here exactly as the engine builds them: reserve, forward, commit by Forward.
#include "support/harness.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace mixtral::testing {

namespace {

// Hands out what another store holds, in other waves.
class WaveStore final : public ExpertStore {
 public:
  WaveStore(std::unique_ptr<ExpertStore> inner, StoreKind kind, int n_experts)
      : inner_(std::move(inner)), kind_(kind), leases_(static_cast<size_t>(n_experts)) {}

  void Prefetch(int layer, std::span<const int32_t> ids) override { inner_->Prefetch(layer, ids); }
  void Begin(int layer, std::span<const int32_t> ids) override {
    layer_ = layer;
    inner_->Begin(layer, ids);
    left_ = 0;
    while (const int n = inner_->NextWave(std::span(leases_).subspan(left_)))
      left_ += static_cast<size_t>(n);
    Check(left_ == ids.size(), "the inner store hands out what was asked for");
    if (kind_ == StoreKind::kOneAtATime)  // taken from the end, so this is ascending
      std::reverse(leases_.begin(), leases_.begin() + static_cast<std::ptrdiff_t>(left_));
  }
  int NextWave(std::span<ExpertLease> leases) override {
    if (kind_ == StoreKind::kFailsOnce && layer_ == 1 && !failed_) {
      failed_ = true;
      Throw(ErrorCode::kIo, "a read that fails once");
    }
    const size_t wave = kind_ == StoreKind::kOneAtATime ? 1 : 2;
    const size_t n = std::min({wave, left_, leases.size()});
    for (size_t i = 0; i < n; ++i) leases[i] = leases_[--left_];
    return static_cast<int>(n);
  }

 private:
  std::unique_ptr<ExpertStore> inner_;
  StoreKind kind_;
  std::vector<ExpertLease> leases_;
  size_t left_ = 0;
  int layer_ = 0;
  bool failed_ = false;
};

template <class T>
std::vector<T> Flatten(Matrix<const T> m) {
  std::vector<T> out;
  for (int64_t row = 0; row < m.rows; ++row) out.insert(out.end(), m.Row(row), m.Row(row) + m.cols);
  return out;
}

class Recorder final : public ForwardObserver {
 public:
  explicit Recorder(Trace* trace) : trace_(trace) {}
  bool WantsLayers() const override { return true; }
  void OnLayer(int, const Batch&, Matrix<const float> residual) override {
    trace_->hidden.push_back(Flatten(residual));
  }
  void OnRouting(int, const Batch&, const Routing& routing, Matrix<const float> logits) override {
    trace_->router_logits.push_back(Flatten(logits));
    trace_->expert_ids.push_back(Flatten(routing.expert_ids));
    trace_->expert_weights.push_back(Flatten(routing.weights));
  }

 private:
  Trace* trace_;
};

Matrix<float> Shaped(std::vector<float>& storage, size_t rows, int cols) {
  storage.resize(rows * static_cast<size_t>(cols));
  return {storage.data(), static_cast<int64_t>(rows), cols, cols};
}

}  // namespace

Harness::Harness(const std::string& path, const HarnessOptions& options)
    : options_(options),
      checkpoint_(OpenCheckpoint(path)),
      backend_(MakeCpuBackend(options.threads, options.mode)) {
  LoadedModel model = LoadModel(*checkpoint_, backend_.get());
  notices_ = model.notices;
  const ModelConfig config = model.config;
  if (options.store != StoreKind::kResident)
    model.experts = std::make_unique<WaveStore>(std::move(model.experts), options.store,
                                                std::max(1, config.n_experts));
  transformer_ =
      std::make_unique<Transformer>(std::move(model), backend_.get(),
                                    TransformerOptions{.max_batch_tokens = options.max_batch_tokens,
                                                       .max_k = options.max_k,
                                                       .max_logit_rows = options.max_batch_tokens});
  kv_ = std::make_unique<KvCache>(config,
                                  KvCacheOptions{.dtype = options.kv_dtype,
                                                 .page_positions = options.page_positions,
                                                 .n_positions = options.n_positions,
                                                 .max_sequences = options.max_sequences},
                                  backend_.get());
}

std::vector<float> Harness::Step(std::span<const Piece> pieces, std::vector<float>* final_norm,
                                 ForwardObserver* observer) {
  std::vector<int32_t> tokens, rows;
  std::vector<SeqRange> ranges;
  std::vector<const RoutingPolicy*> policies;
  for (const Piece& piece : pieces) {
    const auto n = static_cast<int>(piece.tokens.size());
    Check(kv_->Reserve(piece.seq, n), "the test's cache is too small");
    ranges.push_back({piece.seq, static_cast<int>(tokens.size()), n, kv_->Length(piece.seq)});
    tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    policies.push_back(piece.policy);
  }
  for (size_t row = 0; row < tokens.size(); ++row) rows.push_back(static_cast<int32_t>(row));
  Batch batch{.tokens = tokens, .ranges = ranges, .logit_rows = rows, .policies = policies};
  std::vector<float> logits;
  ForwardOutput output{.logits = Shaped(logits, rows.size(), config().vocab_size), .hidden = {}};
  if (final_norm != nullptr) {
    batch.hidden_rows = rows;
    output.hidden = Shaped(*final_norm, rows.size(), config().dim);
  }
  transformer_->Forward(batch, *kv_, output, observer);
  return logits;
}

std::vector<float> Harness::Run(std::span<const int32_t> tokens, std::span<const int> step_sizes,
                                const RoutingPolicy* policy) {
  const SeqId seq = kv_->Open().value();
  std::vector<float> logits;
  size_t step = 0;
  while (!tokens.empty()) {
    size_t n = tokens.size();
    if (!step_sizes.empty())
      n = std::min(n, static_cast<size_t>(step_sizes[std::min(step++, step_sizes.size() - 1)]));
    const Piece piece{seq, tokens.first(n), policy};
    const std::vector<float> part = Step({&piece, 1});
    logits.insert(logits.end(), part.begin(), part.end());
    tokens = tokens.subspan(n);
  }
  kv_->Release(seq);
  return logits;
}

std::vector<float> Harness::RunTraced(std::span<const int32_t> tokens, Trace* trace,
                                      std::vector<float>* final_norm) {
  Recorder recorder(trace);
  const SeqId seq = kv_->Open().value();
  const Piece piece{seq, tokens};
  std::vector<float> logits = Step({&piece, 1}, final_norm, &recorder);
  kv_->Release(seq);
  return logits;
}

std::vector<int32_t> Harness::Greedy(std::span<const int32_t> prompt, int n) {
  const SeqId seq = kv_->Open().value();
  const auto vocab_size = static_cast<size_t>(config().vocab_size);
  std::vector<int32_t> generated;
  std::vector<int32_t> input(prompt.begin(), prompt.end());
  while (std::ssize(generated) < n) {
    const std::vector<float> logits = Step(seq, input);
    generated.push_back(Argmax(std::span(logits).last(vocab_size)));
    input = {generated.back()};
  }
  kv_->Release(seq);
  return generated;
}

int32_t Argmax(std::span<const float> row) {
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

double MaxAbsDifference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(double{a[i]} - double{b[i]});
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
  }
  return worst;
}

}  // namespace mixtral::testing
