// SPDX-License-Identifier: Apache-2.0
// What a measurement asks of a model, wherever it runs: log-likelihoods of continuations, of whole
// texts, and generated answers. Tasks see nothing else of a model; local_model.cc answers from a
// checkpoint, endpoint_model.cc from an OpenAI-compatible server.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace mixtral::eval {

/// log P(continuation | context). Tokens are those of context + continuation encoded as one text
/// with BOS before it; the continuation's are what follows the tokens of the context alone, after
/// trailing white space of the context moved to the continuation (lm-evaluation-harness's rule).
struct ContinuationRequest {
  std::string context;  // empty: BOS alone
  std::string continuation;
};

struct Likelihood {
  double logprob = 0;      // natural log, summed over the continuation's tokens
  int64_t n_tokens = 0;    // of the continuation (of the whole text for Roll)
  bool is_greedy = false;  // every token was the likeliest one (of equal ones, the lowest id)
  std::vector<float> token_logprobs = {};  // [n_tokens] of Roll alone
};

/// A prompt as text, or a conversation for the model's own chat format when messages is not empty.
struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

struct GenerationRequest {
  std::string prompt;
  std::vector<ChatMessage> messages;
  std::vector<std::string> stop;
  int64_t max_tokens = 256;
  float temperature = 0;  // 0 = greedy
  float top_p = 1;
  uint64_t seed = 0;
  int n = 1;  // answers; answer i is drawn with seed + i
};

struct GeneratedAnswers {
  std::vector<std::string> texts;  // [n] without the stop string
};

/// Called once per request, in any order, on the calling thread. Work goes on after it returns:
/// what was reported may be written down, so that an interrupted run can be resumed.
using OnLikelihood = std::function<void(size_t index, const Likelihood&)>;
using OnAnswers = std::function<void(size_t index, const GeneratedAnswers&)>;

/// Calls throw Error for requests that cannot be, and for a model or server that fails. When the
/// run is cancelled they return early, without the rest of the answers: who can cancel looks at the
/// same flag after them.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  /// Shared prefixes are computed once. A request longer than max_tokens() loses tokens from the
  /// left of its context (reported once per run as a notice); one whose continuation alone does not
  /// fit throws Error{kInvalidArgument}.
  virtual void Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) = 0;
  /// Log-likelihood of whole texts, every token once: disjoint windows of max_tokens(), each with
  /// one token of context (lm-evaluation-harness's loglikelihood_rolling).
  virtual void Roll(std::span<const std::string> texts, const OnLikelihood& done) = 0;
  /// A prompt that leaves no room for max_tokens loses tokens from its left.
  virtual void Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) = 0;
  /// Tokens of a text without BOS; an estimate (4 bytes a token) where the server has no tokenizer.
  virtual int64_t CountTokens(const std::string& text) = 0;
  virtual int64_t max_tokens() const = 0;       // context length
  virtual std::string name() const = 0;         // path or endpoint and model, for reports
  virtual std::string fingerprint() const = 0;  // changes when the answers may: guards resuming
};

}  // namespace mixtral::eval
