// SPDX-License-Identifier: Apache-2.0
// Sums in the order in which values are added, in double.
#include "eval/perplexity.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace mixtral::eval {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Numbers that JSON has not are null.
Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

void RunningMean::Add(double value) {
  ++n_;
  const double distance = value - mean_;
  mean_ += distance / static_cast<double>(n_);
  squares_ += distance * (value - mean_);
}

double RunningMean::Error() const {
  if (n_ < 2) return kNaN;
  const auto n = static_cast<double>(n_);
  return std::sqrt(squares_ / n / (n - 1));
}

void PerplexitySum::Add(double logprob) {
  loss_.Add(-logprob);
  sum_ += logprob;
}

void PerplexitySum::Add(std::span<const float> logprobs) {
  for (const float logprob : logprobs) Add(static_cast<double>(logprob));
}

double PerplexitySum::Perplexity() const { return n() == 0 ? kNaN : std::exp(loss_.Mean()); }
double PerplexitySum::Error() const { return Perplexity() * loss_.Error(); }

TextSize SizeOf(std::string_view text) {
  TextSize size = {.n_bytes = std::ssize(text), .n_words = 1};
  for (size_t i = 0; i < text.size(); ++i)
    if (IsSpace(text[i]) && (i == 0 || !IsSpace(text[i - 1]))) ++size.n_words;
  return size;
}

Json PerplexityJson(const PerplexitySum& sum, const TextSize* size) {
  Json json = Json::Object();
  json.Set("tokens", sum.n())
      .Set("perplexity", NumberOrNull(sum.Perplexity()))
      .Set("perplexity_stderr", NumberOrNull(sum.Error()));
  if (size == nullptr) return json;
  const double loss = -sum.Sum();
  const auto n_bytes = static_cast<double>(size->n_bytes);
  const auto n_words = static_cast<double>(size->n_words);
  json.Set("bytes", size->n_bytes)
      .Set("words", size->n_words)
      .Set("bits_per_byte", NumberOrNull(loss / n_bytes / std::numbers::ln2))
      .Set("byte_perplexity", NumberOrNull(std::exp(loss / n_bytes)))
      .Set("word_perplexity", NumberOrNull(std::exp(loss / n_words)));
  return json;
}

PerplexityByLength::PerplexityByLength(int64_t context, int64_t n_buckets)
    : width_(context / n_buckets), buckets_(static_cast<size_t>(n_buckets)) {
  Check(width_ >= 1 && context % n_buckets == 0, "buckets have one width");
}

void PerplexityByLength::Add(std::span<const float> logprobs) {
  for (size_t i = 0; i < logprobs.size(); ++i) {
    const size_t bucket = i / static_cast<size_t>(width_);
    Check(bucket < buckets_.size(), "a window is no longer than the context");
    buckets_[bucket].Add(static_cast<double>(logprobs[i]));
  }
}

Json PerplexityByLength::ToJson() const {
  Json list = Json::Array();
  double sum = 0;
  int64_t n = 0, from = 1;
  for (const PerplexitySum& bucket : buckets_) {
    sum += bucket.Sum();
    n += bucket.n();
    Json row = Json::Object().Set("from", from).Set("to", from + width_ - 1);
    row.Set("tokens", bucket.n())
        .Set("perplexity", NumberOrNull(bucket.Perplexity()))
        .Set("perplexity_stderr", NumberOrNull(bucket.Error()))
        .Set("perplexity_up_to", NumberOrNull(std::exp(-sum / static_cast<double>(n))));
    list.Push(std::move(row));
    from += width_;
  }
  return list;
}

}  // namespace mixtral::eval
