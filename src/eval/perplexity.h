// SPDX-License-Identifier: Apache-2.0
// From log-probabilities to perplexity: the definitions of the field, with standard errors, over
// all tokens, per byte and word, and by the length of the context. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace mixtral::eval {

/// Mean of what was added, with its standard error.
class RunningMean {
 public:
  void Add(double value);
  int64_t n() const { return n_; }
  double Mean() const { return mean_; }
  /// Of the mean: sqrt(mean squared distance / (n - 1)); NaN for fewer than two values.
  double Error() const;

 private:
  int64_t n_ = 0;
  double mean_ = 0, squares_ = 0;  // sum of squared distances from the mean (Welford)
};

/// exp(-mean log p) of tokens. The error is that of the mean, carried through exp: perplexity times
/// the error of the mean (as llama.cpp gives it).
class PerplexitySum {
 public:
  void Add(double logprob);
  void Add(std::span<const float> logprobs);
  int64_t n() const { return loss_.n(); }
  double Sum() const { return sum_; }  // of log p
  double Perplexity() const;           // NaN without tokens
  double Error() const;

 private:
  RunningMean loss_;
  double sum_ = 0;
};

/// What a text is divided by: bytes, and words as lm-evaluation-harness counts them (pieces between
/// runs of white space, an empty one at either end included).
struct TextSize {
  int64_t n_bytes = 0, n_words = 0;
};
TextSize SizeOf(std::string_view text);

/// {"tokens", "perplexity", "perplexity_stderr"} and, where the whole text was scored,
/// {"bytes", "words", "bits_per_byte", "byte_perplexity", "word_perplexity"}.
Json PerplexityJson(const PerplexitySum& sum, const TextSize* size);

/// Perplexity of tokens by how many stand before them, in buckets of equal width.
class PerplexityByLength {
 public:
  /// Buckets of context / n_buckets positions; context is a multiple of n_buckets.
  PerplexityByLength(int64_t context, int64_t n_buckets);
  /// logprobs of a window's tokens, the first with one token before it.
  void Add(std::span<const float> logprobs);
  /// [{"from", "to", "tokens", "perplexity", "perplexity_stderr", "perplexity_up_to"}]
  Json ToJson() const;

 private:
  int64_t width_;
  std::vector<PerplexitySum> buckets_;
};

}  // namespace mixtral::eval
