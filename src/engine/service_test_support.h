// SPDX-License-Identifier: Apache-2.0
// What tests of the service share: everything that came of a request, put together, and waiting for
// its end.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/service.h"

namespace mixtral::testing {

struct ChoiceOutcome {
  std::vector<TokenId> tokens;  // an ending EOS included
  std::vector<ScoredToken> scored;
  std::vector<TokenRouting> routing;
  std::string text, stop_string;
  std::optional<FinishReason> finish;
};

struct Outcome {
  std::map<int, ChoiceOutcome> choices;
  std::vector<ScoredToken> prompt_scores;
  std::vector<TokenRouting> prompt_routing;
  std::vector<float> hidden;
  std::optional<Error> error;
  ServiceUsage usage;
  int n_events = 0, n_done = 0;
};

/// Puts the events of many requests together. Callbacks may come on any thread.
class Outcomes {
 public:
  using OnEvent = std::function<void(const ServiceEvent&)>;

  /// The callback of the request that the caller calls `key`. on_event sees each event first.
  ServiceCallback For(int key, OnEvent on_event = {}) {
    return [this, key, on_event = std::move(on_event)](ServiceEvent&& event) {
      if (on_event) on_event(event);
      const std::lock_guard lock(mutex_);
      Add(outcomes_[key], std::move(event));
      changed_.notify_all();
    };
  }
  /// What came of it, after its last event.
  Outcome Wait(int key) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return outcomes_[key].n_done > 0; });
    return outcomes_[key];
  }
  /// Until so many events of it have come.
  void WaitForEvents(int key, int n_events) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return outcomes_[key].n_events >= n_events; });
  }

 private:
  template <class T>
  static void Append(std::vector<T>& to, std::vector<T>& from) {
    to.insert(to.end(), from.begin(), from.end());
  }
  static void Add(Outcome& outcome, ServiceEvent&& event) {
    ++outcome.n_events;
    outcome.n_done += event.done ? 1 : 0;
    for (ServiceDelta& delta : event.deltas) {
      ChoiceOutcome& choice = outcome.choices[delta.choice];
      for (const ScoredToken& token : delta.tokens) choice.tokens.push_back(token.token.id);
      Append(choice.scored, delta.tokens);
      Append(choice.routing, delta.routing);
      choice.text += delta.text;
      choice.stop_string += delta.stop_string;
      if (delta.finish) choice.finish = delta.finish;
    }
    Append(outcome.prompt_scores, event.prompt_scores);
    Append(outcome.prompt_routing, event.prompt_routing);
    Append(outcome.hidden, event.hidden);
    if (event.error) outcome.error = event.error;
    outcome.usage = event.usage;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, Outcome> outcomes_;
};

/// Submits, and waits for the end.
inline Outcome RunOne(Service& service, const ServiceRequest& request) {
  Outcomes outcomes;
  RequestId id = 0;
  if (service.Submit(request, outcomes.For(0), &id) != SubmitResult::kAccepted) return {};
  return outcomes.Wait(0);
}

/// The same request on a session of its own, choice by choice: what every answer is compared with.
inline GenerateResult RunAlone(Engine& engine, int64_t context, const ServiceRequest& request,
                               int choice, std::string* text) {
  Session session(&engine, {.context = context});
  GenerateOptions options;
  options.sampler = request.sampler;
  options.sampler.seed += static_cast<uint64_t>(choice);
  options.max_tokens = static_cast<int>(request.max_tokens);
  options.stop = request.stop;
  options.stop_tokens = request.stop_tokens;
  options.ignore_eos = request.ignore_eos;
  options.policy = request.policy;
  options.stream_start = request.stream_start;
  return session.Generate(request.prompt, options,
                          [text](std::string_view piece) { *text += piece; });
}

}  // namespace mixtral::testing
