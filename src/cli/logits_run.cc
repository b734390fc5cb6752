// SPDX-License-Identifier: Apache-2.0
// Logits of all positions do not fit into memory for long prompts, so every chunk is written as
// soon as it is computed.
#include "cli/logits_run.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace mixtral::cli {

RoutingRecord::RoutingRecord(const ModelConfig& config, size_t n_tokens)
    : n_tokens_(n_tokens),
      n_experts_(static_cast<size_t>(config.n_experts)),
      k_(static_cast<size_t>(config.experts_per_token)) {
  const size_t rows = static_cast<size_t>(config.n_layers) * n_tokens;
  logits_.resize(rows * n_experts_);
  ids_.resize(rows * k_);
  weights_.resize(rows * k_);
}

void RoutingRecord::OnRouting(int layer, const Batch& batch, const Routing& routing,
                              Matrix<const float> router_logits) {
  const size_t first =
      static_cast<size_t>(layer) * n_tokens_ + static_cast<size_t>(batch.ranges.front().start);
  for (int64_t t = 0; t < router_logits.rows; ++t) {
    const size_t row = first + static_cast<size_t>(t);
    std::copy_n(router_logits.Row(t), n_experts_, &logits_[row * n_experts_]);
    std::copy_n(routing.expert_ids.Row(t), k_, &ids_[row * k_]);
    std::copy_n(routing.weights.Row(t), k_, &weights_[row * k_]);
  }
}

void RoutingRecord::WriteTo(SafetensorsWriter& writer) const {
  writer.Append(std::as_bytes(std::span(logits_)));
  writer.Append(std::as_bytes(std::span(ids_)));
  writer.Append(std::as_bytes(std::span(weights_)));
}

LogitsRun::LogitsRun(Engine* engine, DType kv_type, int64_t longest_prompt)
    : engine_(engine),
      kv_(engine->config(), {.dtype = kv_type, .n_positions = longest_prompt}, &engine->backend()),
      seq_(*kv_.Open()),
      logits_(static_cast<size_t>(kLogitsChunk) * static_cast<size_t>(engine->config().vocab_size)),
      rows_(kLogitsChunk) {
  std::iota(rows_.begin(), rows_.end(), 0);
}

bool LogitsRun::Forward(std::span<const TokenId> prompt, SafetensorsWriter& writer,
                        ForwardObserver* observer,
                        const std::function<bool(int64_t n_tokens)>& on_chunk) {
  kv_.Truncate(seq_, 0);
  const int64_t vocab = engine_->config().vocab_size;
  for (size_t begin = 0; begin < prompt.size(); begin += kLogitsChunk) {
    const auto tokens =
        prompt.subspan(begin, std::min<size_t>(kLogitsChunk, prompt.size() - begin));
    const auto n = static_cast<int>(tokens.size());
    Check(kv_.Reserve(seq_, n), "the cache was sized for the longest prompt");
    const SeqRange range = {
        .seq = seq_, .first_row = 0, .n_rows = n, .start = static_cast<int64_t>(begin)};
    const Batch batch = {.tokens = tokens,
                         .ranges = {&range, 1},
                         .logit_rows = std::span(rows_).first(tokens.size())};
    const ForwardOutput output = {.logits = {logits_.data(), n, vocab, vocab}, .hidden = {}};
    engine_->transformer().Forward(batch, kv_, output, observer);
    writer.Append(
        std::as_bytes(std::span(logits_).first(tokens.size() * static_cast<size_t>(vocab))));
    if (!on_chunk(n)) return false;
  }
  return true;
}

}  // namespace mixtral::cli
