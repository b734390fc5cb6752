// SPDX-License-Identifier: Apache-2.0
// The forward pass. Everything that it touches was sized in the constructor; everything that a
// caller must guarantee is checked once, before the first operation.
#include "model/transformer.h"

#include <array>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace mixtral {

namespace {

Activation FirstRows(Activation a, int64_t rows) { return {a.data, rows, a.cols, a.stride}; }

int EffectiveMaxK(const ModelConfig& config, const TransformerOptions& options) {
  if (config.n_experts == 0) return 1;
  return options.max_k > 0 ? options.max_k : config.experts_per_token;
}

void CheckOptions(const ModelConfig& config, const TransformerOptions& options) {
  if (options.max_batch_tokens < 1 || options.max_logit_rows < 1)
    Throw(ErrorCode::kInvalidArgument, "batch size: expected at least 1 row, found {} and {}",
          options.max_batch_tokens, options.max_logit_rows);
  const int max_k = EffectiveMaxK(config, options);
  if (config.n_experts > 0 && (max_k < config.experts_per_token || max_k > config.n_experts))
    Throw(ErrorCode::kInvalidArgument, "experts per token: expected {}..{}, found {}",
          config.experts_per_token, config.n_experts, max_k);
}

BackendSetup SetupOf(const LoadedModel& model, const TransformerOptions& options) {
  const ModelConfig& c = model.config;
  BackendSetup setup;
  setup.max_batch_tokens = options.max_batch_tokens;
  setup.max_k = EffectiveMaxK(c, options);
  setup.max_slots = options.max_batch_tokens * setup.max_k;
  setup.dim = c.dim;
  setup.ffn_dim = c.ffn_dim;
  setup.n_experts = c.n_experts;
  setup.n_heads = c.n_heads;
  setup.n_kv_heads = c.n_kv_heads;
  setup.head_dim = c.head_dim;
  setup.rope_theta = c.rope_theta;
  setup.rope_order = model.rope_order;
  return setup;
}

}  // namespace

Transformer::Transformer(LoadedModel model, Backend* backend, const TransformerOptions& options)
    : model_(std::move(model)), backend_(backend), options_(options) {
  const ModelConfig& c = model_.config;
  CheckOptions(c, options);
  backend_->Prepare(SetupOf(model_, options));
  const int64_t rows = options.max_batch_tokens;
  const int64_t q_cols = int64_t{c.n_heads} * c.head_dim;
  const int64_t kv_cols = int64_t{c.n_kv_heads} * c.head_dim;
  x_ = backend_->AllocActivation(rows, c.dim);
  normed_ = backend_->AllocActivation(rows, c.dim);
  q_ = backend_->AllocActivation(rows, q_cols);
  k_ = backend_->AllocActivation(rows, kv_cols);
  v_ = backend_->AllocActivation(rows, kv_cols);
  attended_ = backend_->AllocActivation(rows, q_cols);
  delta_ = backend_->AllocActivation(rows, c.dim);
  picked_ = backend_->AllocActivation(options.max_logit_rows, c.dim);
  logits_ = backend_->AllocActivation(options.max_logit_rows, c.vocab_size);
  const auto n_rows = static_cast<size_t>(rows);
  router_logits_.resize(n_rows * static_cast<size_t>(c.n_experts));
  positions_.resize(n_rows);
  ranges_.resize(n_rows);
  views_.resize(n_rows);
  row_policies_.resize(n_rows);
  residual_.resize(n_rows * static_cast<size_t>(c.dim));
}

void Transformer::Forward(const Batch& batch, KvCache& kv, const ForwardOutput& output,
                          ForwardObserver* observer) {
  CheckBatch(batch, kv, output);
  SpreadRanges(batch);
  const auto n_tokens = static_cast<int64_t>(batch.tokens.size());
  const Activation x = FirstRows(x_, n_tokens);            // [T, D] the residual stream
  const Activation normed = FirstRows(normed_, n_tokens);  // [T, D]
  const Activation delta = FirstRows(delta_, n_tokens);    // [T, D]

  backend_->Embed(model_.weights.embedding, batch.tokens, x);
  ReportLayer(-1, batch, x, observer);
  for (int layer = 0; layer < model_.config.n_layers; ++layer) {
    const LayerWeights& w = model_.weights.layers[static_cast<size_t>(layer)];
    backend_->RmsNorm(x, w.attn_norm, model_.config.norm_eps, normed);
    Attention(layer, batch, kv, normed, delta);
    backend_->Add(delta, x);
    backend_->RmsNorm(x, w.ffn_norm, model_.config.norm_eps, normed);
    Experts(layer, batch, normed, delta, observer);
    backend_->Add(delta, x);
    ReportLayer(layer, batch, x, observer);
  }
  FinalNorm(x, batch.hidden_rows);
  if (!batch.hidden_rows.empty())
    backend_->CopyToHost(FirstRows(picked_, std::ssize(batch.hidden_rows)), output.hidden.data);
  FinalNorm(x, batch.logit_rows);
  if (!batch.logit_rows.empty()) {
    const Activation picked = FirstRows(picked_, std::ssize(batch.logit_rows));  // [n, D]
    const Activation logits = FirstRows(logits_, picked.rows);                   // [n, V]
    backend_->MatMul({&model_.weights.output, 1}, picked, {&logits, 1});
    backend_->CopyToHost(logits, output.logits.data);
  }
  for (const SeqRange& range : batch.ranges) kv.Commit(range.seq, range.n_rows);
}

// delta = o . attend(rope(q . normed), rope(k . normed), v . normed)
void Transformer::Attention(int layer, const Batch& batch, const KvCache& kv, Activation normed,
                            Activation delta) {
  const LayerWeights& w = model_.weights.layers[static_cast<size_t>(layer)];
  const Activation q = FirstRows(q_, normed.rows);                // [T, H*P]
  const Activation k = FirstRows(k_, normed.rows);                // [T, G*P]
  const Activation v = FirstRows(v_, normed.rows);                // [T, G*P]
  const Activation attended = FirstRows(attended_, normed.rows);  // [T, H*P]
  const std::span<const RowRange> ranges(ranges_.data(), batch.ranges.size());
  const std::span<const KvView> views(views_.data(), batch.ranges.size());
  for (size_t i = 0; i < batch.ranges.size(); ++i) views_[i] = kv.View(layer, batch.ranges[i].seq);

  const std::array<WeightRef, 3> weights = {w.q, w.k, w.v};
  const std::array<Activation, 3> outs = {q, k, v};
  backend_->MatMul(weights, normed, outs);
  backend_->RopeAndStore(q, k, v, {positions_.data(), batch.tokens.size()}, ranges, views);
  backend_->Attend({.q = q,
                    .ranges = ranges,
                    .views = views,
                    .sliding_window = model_.config.sliding_window,
                    .out = attended});
  backend_->MatMul({&w.o, 1}, attended, {&delta, 1});
}

// delta = sum over the chosen experts of weight * expert(normed)
void Transformer::Experts(int layer, const Batch& batch, Activation normed, Activation delta,
                          ForwardObserver* observer) {
  const int64_t n_experts = model_.config.n_experts;
  const Matrix<float> router_logits = {router_logits_.data(), n_experts > 0 ? normed.rows : 0,
                                       n_experts, n_experts};  // [T, E]
  const Routing routing = backend_->MoeFfn(
      {.x = normed,
       .router = model_.weights.layers[static_cast<size_t>(layer)].router,
       .store = model_.experts.get(),
       .layer = layer,
       .experts_per_token = model_.config.experts_per_token,
       .row_policies = {row_policies_.data(), batch.policies.empty() ? 0 : batch.tokens.size()},
       .out = delta,
       .router_logits = router_logits});
  if (observer != nullptr && n_experts > 0)
    observer->OnRouting(layer, batch, routing, router_logits);
}

// picked = norm(x[rows])
void Transformer::FinalNorm(Activation x, std::span<const int32_t> rows) {
  if (rows.empty()) return;
  const Activation picked = FirstRows(picked_, std::ssize(rows));
  backend_->GatherRows(x, rows, picked);
  backend_->RmsNorm(picked, model_.weights.final_norm, model_.config.norm_eps, picked);
}

void Transformer::ReportLayer(int layer, const Batch& batch, Activation x,
                              ForwardObserver* observer) {
  if (observer == nullptr || !observer->WantsLayers()) return;
  backend_->CopyToHost(x, residual_.data());
  observer->OnLayer(layer, batch, {residual_.data(), x.rows, x.cols, x.cols});
}

void Transformer::SpreadRanges(const Batch& batch) {
  for (size_t i = 0; i < batch.ranges.size(); ++i) {
    const SeqRange& range = batch.ranges[i];
    ranges_[i] = {range.first_row, range.n_rows, range.start};
    for (int row = 0; row < range.n_rows; ++row) {
      const auto at = static_cast<size_t>(range.first_row + row);
      positions_[at] = range.start + row;
      row_policies_[at] = batch.policies.empty() ? nullptr : batch.policies[i];
    }
  }
}

void Transformer::CheckBatch(const Batch& batch, const KvCache& kv,
                             const ForwardOutput& output) const {
  const ModelConfig& c = model_.config;
  const auto n_tokens = static_cast<int>(batch.tokens.size());
  Check(n_tokens > 0 && n_tokens <= options_.max_batch_tokens, "batch: number of tokens");
  for (const TokenId token : batch.tokens)
    Check(token >= 0 && token < c.vocab_size, "batch: a token id outside the vocabulary");
  Check(batch.policies.empty() || batch.policies.size() == batch.ranges.size(),
        "batch: one policy per range");
  int next_row = 0;
  for (size_t i = 0; i < batch.ranges.size(); ++i) {
    const SeqRange& range = batch.ranges[i];
    Check(range.first_row == next_row && range.n_rows > 0, "batch: ranges in row order, no gaps");
    next_row += range.n_rows;
    Check(range.start == kv.Length(range.seq), "batch: a range starts at its sequence's length");
    Check(kv.CanHold(range.seq, range.n_rows), "batch: reserve pages before Forward");
    for (size_t j = 0; j < i; ++j)
      Check(batch.ranges[j].seq != range.seq, "batch: a sequence at most once");
  }
  Check(next_row == n_tokens, "batch: ranges cover all rows");
  for (const auto& rows : {batch.logit_rows, batch.hidden_rows}) {
    Check(std::ssize(rows) <= options_.max_logit_rows, "batch: number of rows asked for");
    for (const int32_t row : rows) Check(row >= 0 && row < n_tokens, "batch: no such row");
  }
  const auto fits = [](const Matrix<float>& m, size_t rows, int cols) {
    return rows == 0 || (m.data != nullptr && m.rows >= static_cast<int64_t>(rows) &&
                         m.cols == cols && m.stride == cols);
  };
  Check(fits(output.logits, batch.logit_rows.size(), c.vocab_size), "output: logits [n, V]");
  Check(fits(output.hidden, batch.hidden_rows.size(), c.dim), "output: hidden [n, D]");
}

}  // namespace mixtral
