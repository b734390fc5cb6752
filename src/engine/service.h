// SPDX-License-Identifier: Apache-2.0
// Many requests on one model: continuous batching with a paged cache, prefix reuse and fair
// scheduling. Callers (the server, `mixtral batch`) submit requests from any thread; one scheduler
// thread runs forward steps and reports each step's news to the requests' callbacks. What a request
// gets depends on the request alone, bitwise, never on its neighbours.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/routing_watch.h"
#include "engine/sampler.h"
#include "engine/step_histograms.h"
#include "engine/step_runner.h"
#include "engine/token_scores.h"

namespace mixtral {

using RequestId = uint64_t;

enum class HiddenPooling : uint8_t { kNone, kLast, kMean };

struct ServiceRequest {
  std::vector<TokenId> prompt;  // at least one token
  SamplerConfig sampler;        // the seed of choice i is sampler.seed + i
  int n = 1;                    // choices; the prompt is computed once and its cache forked
  int64_t max_tokens = -1;      // 0 = only the prompt (scores, embeddings); -1 = up to the context
  int64_t min_tokens = 0;       // neither EOS nor a stop ends a choice before
  std::vector<std::string> stop;
  std::vector<TokenId> stop_tokens;
  bool include_stop_text = false, ignore_eos = false;
  StreamStart stream_start = StreamStart::kContinuation;
  int top_logprobs = -1;         // -1 = no log-probabilities; 0 = of the token alone
  bool prompt_logprobs = false;  // of every prompt token after the first, with top_logprobs
  int64_t logprobs_from = 1;  // prompt_logprobs begin with this token; the prefix cache may serve
                              // what comes before
  TokenId target = -1;  // prompt_logprobs end with this token, which follows the prompt and is not
                        // computed itself; -1 = with the prompt's last
  HiddenPooling pooling = HiddenPooling::kNone;  // of the final-norm hidden states of the prompt
  bool return_routing = false;
  RoutingPolicy policy;
  bool use_prefix_cache = true;
  int priority = 0;  // lower runs first; equal ones share fairly
};

/// What one step brought for one choice. Text is what became certain (maybe nothing yet: half of a
/// UTF-8 character, the beginning of a stop string), tokens are those generated, an ending EOS
/// included.
struct ServiceDelta {
  int choice = 0;
  std::string text;
  std::vector<ScoredToken> tokens;  // logprobs filled when asked for
  std::vector<TokenRouting> routing;
  std::optional<FinishReason> finish;
  std::string stop_string;  // the one that ended it, if one did
};

struct ServiceUsage {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0, first_token_seconds = 0;
  int64_t preemptions = 0;
};

/// News of one request after a step. Called on the scheduler thread: hand it over and return.
struct ServiceEvent {
  RequestId id = 0;
  std::vector<ServiceDelta> deltas;
  std::vector<ScoredToken> prompt_scores;    // once, when prompt_logprobs: [prompt size (and the
                                             // target) - logprobs_from]
  std::vector<TokenRouting> prompt_routing;  // once, when return_routing
  std::vector<float> hidden;                 // once, when pooled: [D]
  std::optional<Error> error;                // the request is over: the model failed on it
  bool waited_too_long = false;              // it is over and never began: queue_seconds
  bool done = false;                         // the last event of the request
  ServiceUsage usage;                        // as of now
};

using ServiceCallback = std::function<void(ServiceEvent&&)>;

enum class SubmitResult : uint8_t { kAccepted, kQueueFull, kDraining };

struct ServiceOptions {
  int64_t context = 0;          // longest sequence; 0 = the model's, at most 4096 unless asked
  int64_t cache_positions = 0;  // positions of the paged cache; 0 = max_running x context, at most
                                // what cache_bytes allows
  size_t cache_bytes = 0;       // 0 = a quarter of the free memory at most
  size_t prefix_bytes = 0;      // of them, kept for later requests at most; 0 = whatever is unused
  DType kv_dtype = DType::kF16;
  int max_running = 64;  // sequences in a step
  int max_queued = 512;  // requests waiting
  int64_t max_queued_tokens = 1 << 20;
  double queue_seconds = 0;  // a request that has not begun after so long is over; 0 = no limit
  int step_tokens = 512;     // rows of one forward step
  int prefill_tokens = 128;  // prompt rows beside running streams, so that they do not stall
};

/// What the engine below a service must be sized for: the rows of a step, and the rows whose logits
/// one step gives (one of each sequence, and a slice of a prompt that is scored).
EngineOptions EngineOptionsFor(const ServiceOptions& options, EngineOptions engine = {});

struct ServiceStats {
  int64_t running = 0, waiting = 0;
  int64_t cache_positions = 0, cache_used = 0, cache_reusable = 0;  // positions
  int64_t prompt_tokens_total = 0, cached_tokens_total = 0, generated_tokens_total = 0;
  int64_t steps_total = 0, preemptions_total = 0, finished_total = 0, cancelled_total = 0,
          failed_total = 0, expired_total = 0;
  int64_t prefix_queries_total = 0, prefix_hits_total = 0;  // tokens
  StepHistograms steps;
  std::vector<int64_t> expert_tokens;   // [L, E] assignments since the start
  std::vector<int64_t> first_repeats;   // [L] first choice same as the token before
  std::vector<int64_t> either_repeats;  // [L] first or second choice in common
  int64_t routed_pairs = 0;             // consecutive token pairs behind the two
};

class Service {
 public:
  /// Rows of a step and sequences are at most what the engine was opened for (EngineOptionsFor).
  /// Throws Error{kInvalidArgument, kOutOfMemory} when the budget cannot hold one full context.
  Service(Engine* engine, const ServiceOptions& options);
  /// With another forward pass, for tests of what happens when it fails.
  Service(Engine* engine, const ServiceOptions& options, ForwardFunction forward);
  ~Service();  // cancels what is left; every request gets its last event
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Throws Error{kInvalidArgument} naming the field for a request that can never run (empty
  /// prompt, ids outside the vocabulary, prompt longer than the context, sampler or policy out of
  /// range). id is set when accepted. Any thread.
  SubmitResult Submit(ServiceRequest request, ServiceCallback callback, RequestId* id);
  /// Frees the request's pages within one step; one last event with finish kCancelled comes, if it
  /// was not over. Any thread, any time.
  void Cancel(RequestId id);
  /// No new requests; the running ones go on. Any thread.
  void Drain();
  ServiceStats Stats() const;
  const ServiceOptions& options() const;  // with the zeros filled in
  size_t CacheBytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mixtral
