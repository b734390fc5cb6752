// SPDX-License-Identifier: Apache-2.0
// Rows asked for are always the last ones of a part, so they lie together in every buffer.
#include "engine/step_runner.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/check.h"

namespace mixtral {

StepRunner::StepRunner(ForwardFunction forward, KvCache* kv, const StepSizes& sizes)
    : forward_(std::move(forward)), kv_(kv), sizes_(sizes) {
  const auto max_rows = static_cast<size_t>(sizes.max_rows);
  const auto max_outputs = static_cast<size_t>(sizes.max_output_rows);
  tokens_.reserve(max_rows);
  ranges_.reserve(max_rows);
  policies_.reserve(max_rows);
  rows_.reserve(max_rows);
  errors_.reserve(max_rows);
  logit_rows_.reserve(max_outputs);
  hidden_rows_.reserve(max_outputs);
  alone_rows_.reserve(2 * max_outputs);
  logits_.resize(max_outputs * static_cast<size_t>(sizes.vocab_size));
  hidden_.resize(max_outputs * static_cast<size_t>(sizes.dim));
}

void StepRunner::Clear() {
  tokens_.clear();
  ranges_.clear();
  policies_.clear();
  rows_.clear();
  errors_.clear();
  logit_rows_.clear();
  hidden_rows_.clear();
}

size_t StepRunner::Add(const StepPart& part) {
  const auto first_row = static_cast<int>(tokens_.size()), n = static_cast<int>(part.tokens.size());
  rows_.push_back({part.n_logit_rows, part.n_hidden_rows, static_cast<int>(logit_rows_.size()),
                   static_cast<int>(hidden_rows_.size())});
  for (int i = n - part.n_logit_rows; i < n; ++i) logit_rows_.push_back(first_row + i);
  for (int i = n - part.n_hidden_rows; i < n; ++i) hidden_rows_.push_back(first_row + i);
  tokens_.insert(tokens_.end(), part.tokens.begin(), part.tokens.end());
  ranges_.push_back({part.seq, first_row, n, part.start});
  policies_.push_back(part.policy);
  errors_.emplace_back();
  Check(std::ssize(tokens_) <= sizes_.max_rows &&
            std::ssize(logit_rows_) <= sizes_.max_output_rows &&
            std::ssize(hidden_rows_) <= sizes_.max_output_rows,
        "a step within its sizes");
  return ranges_.size() - 1;
}

void StepRunner::Run(ForwardObserver* observer) {
  if (ranges_.empty()) return;
  try {
    Forward(0, ranges_.size(), observer);
  } catch (const std::exception&) {
    RunOneByOne(observer);
  }
}

/// A failed step has committed nothing.
void StepRunner::RunOneByOne(ForwardObserver* observer) {
  for (size_t i = 0; i < ranges_.size(); ++i) {
    try {
      Forward(i, 1, observer);
    } catch (const Error& error) {
      errors_[i] = error;
    } catch (const std::exception& error) {
      errors_[i] = Error(ErrorCode::kInternal, error.what());
    }
  }
}

/// All parts, or a single one whose rows are numbered from 0 on.
void StepRunner::Forward(size_t first_part, size_t n_parts, ForwardObserver* observer) {
  const Rows& rows = rows_[first_part];
  const bool all = n_parts == ranges_.size();
  const auto n_logits = all ? logit_rows_.size() : static_cast<size_t>(rows.n_logits);
  const auto n_hidden = all ? hidden_rows_.size() : static_cast<size_t>(rows.n_hidden);
  const SeqRange& first = ranges_[first_part];
  SeqRange alone = first;
  alone.first_row = 0;
  std::span<const int32_t> logit_rows = logit_rows_, hidden_rows = hidden_rows_;
  if (!all) {
    alone_rows_.clear();
    for (int i = first.n_rows - rows.n_logits; i < first.n_rows; ++i) alone_rows_.push_back(i);
    for (int i = first.n_rows - rows.n_hidden; i < first.n_rows; ++i) alone_rows_.push_back(i);
    logit_rows = std::span(alone_rows_).first(n_logits);
    hidden_rows = std::span(alone_rows_).subspan(n_logits, n_hidden);
  }
  const Batch batch = {
      .tokens = all ? std::span<const TokenId>(tokens_)
                    : std::span<const TokenId>(tokens_).subspan(
                          static_cast<size_t>(first.first_row), static_cast<size_t>(first.n_rows)),
      .ranges = all ? std::span<const SeqRange>(ranges_) : std::span<const SeqRange>(&alone, 1),
      .logit_rows = logit_rows,
      .hidden_rows = hidden_rows,
      .policies = std::span<const RoutingPolicy* const>(policies_).subspan(first_part, n_parts)};
  const int64_t vocab = sizes_.vocab_size, dim = sizes_.dim;
  const ForwardOutput output = {.logits = {logits_.data() + (all ? 0 : rows.first_logits * vocab),
                                           static_cast<int64_t>(n_logits), vocab, vocab},
                                .hidden = {hidden_.data() + (all ? 0 : rows.first_hidden * dim),
                                           static_cast<int64_t>(n_hidden), dim, dim}};
  forward_(batch, *kv_, output, observer);
}

std::span<float> StepRunner::Logits(size_t part, int row) {
  const auto at = static_cast<size_t>(rows_[part].first_logits + row);
  const auto vocab = static_cast<size_t>(sizes_.vocab_size);
  return std::span(logits_).subspan(at * vocab, vocab);
}

std::span<const float> StepRunner::Hidden(size_t part, int row) const {
  const auto at = static_cast<size_t>(rows_[part].first_hidden + row);
  const auto dim = static_cast<size_t>(sizes_.dim);
  return std::span(hidden_).subspan(at * dim, dim);
}

}  // namespace mixtral
