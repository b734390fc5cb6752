// SPDX-License-Identifier: Apache-2.0
// One window at a time in a cache of its own; of its logits one slice is in memory.
#include "eval/comparison_run.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace mixtral::eval {
namespace {

constexpr int kSlice = 64;  // rows of a step; V x 4 bytes of logits each, of both models

/// What every layer's router saw and chose in one step.
class RoutingSlice final : public ForwardObserver {
 public:
  explicit RoutingSlice(const ModelConfig& config)
      : n_experts_(static_cast<size_t>(config.n_experts)),
        k_(static_cast<size_t>(config.experts_per_token)) {
    const size_t rows = static_cast<size_t>(config.n_layers) * kSlice;
    logits_.resize(rows * n_experts_);
    ids_.resize(rows * k_);
    weights_.resize(rows * k_);
  }
  void OnRouting(int layer, const Batch& /*batch*/, const Routing& routing,
                 Matrix<const float> router_logits) override {
    for (int64_t t = 0; t < router_logits.rows; ++t) {
      const size_t row = RowOf(layer, static_cast<int>(t));
      std::copy_n(router_logits.Row(t), n_experts_, &logits_[row * n_experts_]);
      std::copy_n(routing.expert_ids.Row(t), k_, &ids_[row * k_]);
      std::copy_n(routing.weights.Row(t), k_, &weights_[row * k_]);
    }
  }
  RouterChoice At(int layer, int t) const {
    const size_t row = RowOf(layer, t);
    return {std::span(logits_).subspan(row * n_experts_, n_experts_),
            std::span(ids_).subspan(row * k_, k_), std::span(weights_).subspan(row * k_, k_)};
  }

 private:
  static size_t RowOf(int layer, int t) {
    return static_cast<size_t>(layer) * kSlice + static_cast<size_t>(t);
  }
  size_t n_experts_, k_;
  std::vector<float> logits_;   // [L, kSlice, E]
  std::vector<int32_t> ids_;    // [L, kSlice, k]
  std::vector<float> weights_;  // [L, kSlice, k]
};

EngineOptions ForSlices(EngineOptions options) {
  options.max_batch_tokens = options.max_logit_rows = kSlice;
  return options;
}

/// One line about the first difference.
void CheckOneVocabulary(const Engine& base, const Engine& other) {
  const Tokenizer &a = base.tokenizer(), &b = other.tokenizer();
  const std::string& where = other.checkpoint().path();
  if (base.config().vocab_size != other.config().vocab_size || a.vocab_size() != b.vocab_size())
    Throw(ErrorCode::kUnsupported,
          "vocabulary: expected that of {} ({} pieces, {} rows), found {} pieces, {} rows, in {}",
          base.checkpoint().path(), a.vocab_size(), base.config().vocab_size, b.vocab_size(),
          other.config().vocab_size, where);
  for (TokenId id = 0; id < a.vocab_size(); ++id)
    if (a.Piece(id) != b.Piece(id))
      Throw(ErrorCode::kUnsupported,
            "vocabulary: expected that of {} (piece {} is '{}'), found '{}', in {}",
            base.checkpoint().path(), id, a.Piece(id), b.Piece(id), where);
}

}  // namespace

class ComparisonRun::Side {
 public:
  Side(const std::string& path, const ComparisonOptions& options)
      : engine(path, ForSlices(options.engine)),
        routing(engine.config()),
        logits_(static_cast<size_t>(kSlice) * static_cast<size_t>(engine.config().vocab_size)),
        rows_(kSlice) {
    std::iota(rows_.begin(), rows_.end(), 0);
  }

  void OpenCache(int64_t context, DType type) {
    kv_.emplace(engine.config(), KvCacheOptions{.dtype = type, .n_positions = context},
                &engine.backend());
    seq_ = *kv_->Open();
  }
  void Forward(std::span<const TokenId> tokens, int64_t start) {
    if (start == 0) kv_->Truncate(seq_, 0);
    Check(kv_->Reserve(seq_, std::ssize(tokens)), "the cache has room for a window");
    const auto n = static_cast<int>(tokens.size());
    const int64_t vocab = engine.config().vocab_size;
    const SeqRange range = {.seq = seq_, .first_row = 0, .n_rows = n, .start = start};
    const Batch batch = {.tokens = tokens,
                         .ranges = {&range, 1},
                         .logit_rows = std::span(rows_).first(tokens.size())};
    const ForwardOutput output = {.logits = {logits_.data(), n, vocab, vocab}, .hidden = {}};
    engine.transformer().Forward(batch, *kv_, output, &routing);
  }
  std::span<const float> Logits(int row) const {
    const auto vocab = static_cast<size_t>(engine.config().vocab_size);
    return std::span(logits_).subspan(static_cast<size_t>(row) * vocab, vocab);
  }

  Engine engine;
  RoutingSlice routing;

 private:
  std::optional<KvCache> kv_;
  SeqId seq_ = -1;
  std::vector<float> logits_;  // [kSlice, V]
  std::vector<int32_t> rows_;  // 0, 1, 2, ...
};

ComparisonRun::ComparisonRun(const ComparisonOptions& options)
    : base_(std::make_unique<Side>(options.base_path, options)),
      other_(std::make_unique<Side>(options.other_path, options)) {
  CheckOneVocabulary(base_->engine, other_->engine);
  const ModelConfig &a = base_->engine.config(), &b = other_->engine.config();
  const int64_t longest = std::min<int64_t>(a.max_context, b.max_context);
  context_ = options.context > 0 ? options.context : std::min<int64_t>(longest, 512);
  if (context_ > longest)
    Throw(ErrorCode::kInvalidArgument, "context: expected 1..{} (what both models have), found {}",
          longest, context_);
  if (a.n_experts > 0 && a.n_experts == b.n_experts && a.n_layers == b.n_layers &&
      a.experts_per_token == b.experts_per_token)
    routing_.emplace(a.n_layers);
  base_->OpenCache(context_, options.kv_dtype);
  other_->OpenCache(context_, options.kv_dtype);
}

ComparisonRun::~ComparisonRun() = default;

const Engine& ComparisonRun::base() const { return base_->engine; }

void ComparisonRun::TakeRow(int row, TokenId next) {
  predictions_.Add(base_->Logits(row), other_->Logits(row), next);
  if (!routing_) return;
  for (int layer = 0; layer < base_->engine.config().n_layers; ++layer)
    routing_->Add(layer, base_->routing.At(layer, row), other_->routing.At(layer, row));
}

bool ComparisonRun::Add(const TokenWindow& window,
                        const std::function<bool(int64_t n_rows)>& on_rows) {
  const size_t n_inputs = window.tokens.size() - 1, first = n_inputs - window.n_scored;
  for (size_t start = 0; start < n_inputs; start += kSlice) {
    const size_t n = std::min<size_t>(kSlice, n_inputs - start);
    const auto slice = std::span(window.tokens).subspan(start, n);
    base_->Forward(slice, static_cast<int64_t>(start));
    other_->Forward(slice, static_cast<int64_t>(start));
    for (size_t i = 0; i < n; ++i)
      if (start + i >= first) TakeRow(static_cast<int>(i), window.tokens[start + i + 1]);
    if (!on_rows(static_cast<int64_t>(n))) return false;
  }
  return true;
}

Json ComparisonRun::ToJson() const {
  return Json::Object()
      .Set("predictions", predictions_.ToJson())
      .Set("routing", routing_ ? routing_->ToJson() : Json());
}

}  // namespace mixtral::eval
