// SPDX-License-Identifier: Apache-2.0
// What each row of a prompt adds, in order of positions, so that it does not matter how the prompt
// was sliced.
#include "engine/live_request.h"

#include <algorithm>
#include <utility>

namespace mixtral {
namespace {

double SecondsBetween(ServiceClock::time_point begin, ServiceClock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

int LiveRequest::LogitRows(const Lane& lane, int64_t end, int64_t n_new) const {
  const bool is_last = end == std::ssize(lane.choice.tokens());
  if (!prompt_done && request.prompt_logprobs)
    return static_cast<int>(std::clamp<int64_t>(end - (request.logprobs_from - 1), 0, n_new));
  return is_last && (prompt_done || request.max_tokens != 0) ? 1 : 0;
}

int LiveRequest::HiddenRows(int64_t end, int64_t n_new) const {
  if (prompt_done || request.pooling == HiddenPooling::kNone) return 0;
  if (request.pooling == HiddenPooling::kMean) return static_cast<int>(n_new);
  return end == std::ssize(request.prompt) ? 1 : 0;
}

void LiveRequest::AddPromptLogits(int64_t position, std::span<const float> logits) {
  const auto next = static_cast<size_t>(position) + 1;
  const TokenId scored = next < request.prompt.size() ? request.prompt[next] : request.target;
  if (!request.prompt_logprobs || scored < 0) return;
  prompt_scores_.push_back(ScoreToken(logits, scored, std::max(0, request.top_logprobs)));
}

void LiveRequest::AddHidden(int64_t position, std::span<const float> hidden) {
  if (request.pooling == HiddenPooling::kLast) {
    if (position + 1 == std::ssize(request.prompt))
      hidden_sum_.assign(hidden.begin(), hidden.end());
    return;
  }
  hidden_sum_.resize(hidden.size());
  for (size_t i = 0; i < hidden.size(); ++i) hidden_sum_[i] += static_cast<double>(hidden[i]);
}

void LiveRequest::TellPrompt() {
  event.prompt_scores = std::exchange(prompt_scores_, {});
  event.prompt_routing = std::exchange(prompt_routing, {});
  const double n = request.pooling == HiddenPooling::kMean ? double(request.prompt.size()) : 1.0;
  event.hidden.reserve(hidden_sum_.size());
  for (const double sum : hidden_sum_) event.hidden.push_back(static_cast<float>(sum / n));
  hidden_sum_ = {};
  has_news = true;
}

ServiceDelta& LiveRequest::DeltaOf(int choice) {
  has_news = true;
  for (ServiceDelta& delta : event.deltas)
    if (delta.choice == choice) return delta;
  ServiceDelta& delta = event.deltas.emplace_back();
  delta.choice = choice;
  return delta;
}

bool LiveRequest::AllFinished() const {
  return prompt_done && std::all_of(lanes.begin(), lanes.end(), [](const auto& lane) {
           return lane->choice.finish().has_value();
         });
}

ServiceEvent LiveRequest::TakeEvent(ServiceClock::time_point now) {
  const auto begin = started.value_or(now), middle = prompt_end.value_or(now);
  usage.prompt_tokens = std::ssize(request.prompt);
  usage.completion_tokens = 0;
  for (const auto& lane : lanes) usage.completion_tokens += lane->choice.n_generated();
  usage.queue_seconds = SecondsBetween(submitted, begin);
  usage.prefill_seconds = SecondsBetween(begin, middle);
  usage.decode_seconds = SecondsBetween(middle, now);
  if (prompt_end) usage.first_token_seconds = SecondsBetween(submitted, *prompt_end);
  event.id = id;
  event.usage = usage;
  has_news = false;
  return std::exchange(event, {});
}

}  // namespace mixtral
