// SPDX-License-Identifier: Apache-2.0
// A request that the service has accepted, from its prompt to its last event: its sequences, what
// was computed of its prompt, and the news that wait to be told.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/choice.h"
#include "engine/service.h"

namespace mixtral {

using ServiceClock = std::chrono::steady_clock;

struct LiveRequest;

/// One sequence of the scheduler: a choice, and where its tokens are in the cache.
struct Lane {
  Lane(LiveRequest* request, Choice new_choice, uint64_t new_order)
      : owner(request), choice(std::move(new_choice)), order(new_order) {}

  LiveRequest* owner;
  Choice choice;
  uint64_t order;
  SeqId seq = -1;        // -1: waits, without pages
  int64_t reported = 0;  // positions whose rows were recorded, though they may be computed again
};

struct LiveRequest {
  LiveRequest(RequestId new_id, ServiceRequest new_request, ServiceCallback new_callback)
      : id(new_id), request(std::move(new_request)), callback(std::move(new_callback)) {}

  RequestId id;
  ServiceRequest request;
  ServiceCallback callback;
  ServiceClock::time_point submitted = ServiceClock::now();
  std::optional<ServiceClock::time_point> started, prompt_end;

  std::vector<std::unique_ptr<Lane>> lanes;  // the first from the beginning, all after the prompt
  bool prompt_done = false;

  /// The first position of its prompt whose row must be computed, whatever the prefix cache has:
  /// the last at the latest.
  int64_t FirstWantedRow() const {
    if (request.pooling == HiddenPooling::kMean || request.return_routing) return 0;
    if (request.prompt_logprobs) return request.logprobs_from - 1;
    return std::ssize(request.prompt) - 1;
  }
  /// Of the last n_new rows of its lane, which are positions [end - n_new, end): how many of the
  /// last need logits, or hidden states.
  int LogitRows(const Lane& lane, int64_t end, int64_t n_new) const;
  int HiddenRows(int64_t end, int64_t n_new) const;

  /// A row of its prompt: the logits that follow position, or its hidden state.
  void AddPromptLogits(int64_t position, std::span<const float> logits);
  void AddHidden(int64_t position, std::span<const float> hidden);
  /// Moves what the prompt gave into the event.
  void TellPrompt();
  /// News of a choice; the same one until the event is taken.
  ServiceDelta& DeltaOf(int choice);
  bool AllFinished() const;
  /// The event to tell, with usage as of now.
  ServiceEvent TakeEvent(ServiceClock::time_point now);

  ServiceEvent event;
  bool has_news = false;
  std::vector<TokenRouting> prompt_routing;
  ServiceUsage usage;

 private:
  std::vector<ScoredToken> prompt_scores_;
  std::vector<double> hidden_sum_;  // [D]
};

}  // namespace mixtral
