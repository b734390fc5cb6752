// SPDX-License-Identifier: Apache-2.0
// What rows a request puts into a step, and what it takes out of it: tokens, scores, hidden states,
// the experts of its tokens.
#include <algorithm>

#include "base/check.h"
#include "engine/service_loop.h"

namespace mixtral {

void ServiceLoop::AddRows(Lane* lane, int n_rows) {
  LiveRequest& owner = *lane->owner;
  Rows rows = {.lane = lane, .start = kv_.Length(lane->seq), .n_rows = n_rows};
  const int64_t end = rows.start + n_rows;
  rows.n_new = static_cast<int>(end - std::clamp(lane->reported, rows.start, end));
  rows.n_logits = owner.LogitRows(*lane, end, rows.n_new);
  rows.n_hidden = owner.HiddenRows(end, rows.n_new);
  CaptureRouting(*lane, rows.n_new);
  rows.part = runner_.Add(
      {.seq = lane->seq,
       .start = rows.start,
       .tokens = std::span(lane->choice.tokens())
                     .subspan(static_cast<size_t>(rows.start), static_cast<size_t>(n_rows)),
       .n_logit_rows = rows.n_logits,
       .n_hidden_rows = rows.n_hidden,
       .policy = &owner.request.policy});
  rows_.push_back(rows);
}

/// New rows are either all of the prompt or all generated: the first generated token is known when
/// the prompt has been computed.
void ServiceLoop::CaptureRouting(const Lane& lane, int64_t n_new) {
  LiveRequest& owner = *lane.owner;
  if (!owner.request.return_routing || n_new == 0) {
    watch_.Capture(lane.seq, {}, 0);
    return;
  }
  std::vector<TokenRouting>& list =
      owner.prompt_done ? owner.DeltaOf(lane.choice.index()).routing : owner.prompt_routing;
  const size_t before = list.size();
  list.resize(before + static_cast<size_t>(n_new));
  const int k = owner.request.policy.k;
  watch_.Capture(lane.seq, std::span(list).subspan(before),
                 k > 0 ? k : engine_->config().experts_per_token);
}

void ServiceLoop::Take(const Rows& rows) {
  Lane* lane = rows.lane;
  LiveRequest& owner = *lane->owner;
  if (lane->seq < 0) return;  // another choice of its request has failed in this step
  if (const auto& error = runner_.ErrorOf(rows.part)) {
    owner.event.error = error;
    ++stats_.failed_total;
    Stop(&owner, FinishReason::kCancelled);
    return;
  }
  const int64_t end = rows.start + rows.n_rows;
  if (!owner.prompt_done) RecordPrompt(rows, end);
  lane->reported = std::max(lane->reported, end);
  KeepPages(*lane, rows.start);
  if (end < std::ssize(lane->choice.tokens())) return;
  const std::span<float> logits =
      rows.n_logits > 0 ? runner_.Logits(rows.part, rows.n_logits - 1) : std::span<float>();
  if (owner.prompt_done)
    TakeToken(lane, logits);
  else
    FinishPrompt(lane, logits);
}

void ServiceLoop::RecordPrompt(const Rows& rows, int64_t end) {
  LiveRequest& owner = *rows.lane->owner;
  if (owner.request.prompt_logprobs)
    for (int i = 0; i < rows.n_logits; ++i)
      owner.AddPromptLogits(end - rows.n_logits + i, runner_.Logits(rows.part, i));
  for (int i = 0; i < rows.n_hidden; ++i)
    owner.AddHidden(end - rows.n_hidden + i, runner_.Hidden(rows.part, i));
}

/// Pages that this step has filled can be found from now on, also by those that run beside it.
void ServiceLoop::KeepPages(const Lane& lane, int64_t start) {
  const ServiceRequest& request = lane.owner->request;
  const int64_t page = kv_.page_positions(), length = kv_.Length(lane.seq);
  if (!request.use_prefix_cache || length / page == start / page) return;
  prefixes_.Insert(request.policy,
                   std::span(lane.choice.tokens()).first(static_cast<size_t>(length)), lane.seq);
}

/// The other choices begin here: each takes its first token from the same logits, and the prompt's
/// pages as long as there is a place among those that run.
void ServiceLoop::FinishPrompt(Lane* lane, std::span<float> logits) {
  LiveRequest& owner = *lane->owner;
  const ServiceRequest& request = owner.request;
  owner.prompt_done = true;
  owner.prompt_end = ServiceClock::now();
  stats_.prompt_tokens_total += std::ssize(request.prompt);
  owner.TellPrompt();
  if (request.max_tokens == 0) {
    for (int i = 1; i < request.n; ++i) owner.DeltaOf(i).finish = FinishReason::kLength;
    lane->choice.End(FinishReason::kLength, &owner.DeltaOf(0));
    ++stats_.finished_total;
    Leave(lane);
    return;
  }
  for (int i = 1; i < request.n; ++i) {
    Lane* other = owner.lanes
                      .emplace_back(std::make_unique<Lane>(
                          &owner, Choice(*engine_, &request, i, options_.context),
                          lane->order + static_cast<uint64_t>(i)))
                      .get();
    other->reported = lane->reported;
    Place(other, lane->seq);
    std::copy(logits.begin(), logits.end(), scratch_.begin());
    TakeToken(other, scratch_);
  }
  TakeToken(lane, logits);
}

void ServiceLoop::TakeToken(Lane* lane, std::span<float> logits) {
  LiveRequest& owner = *lane->owner;
  lane->choice.Take(logits, &owner.DeltaOf(lane->choice.index()));
  ++stats_.generated_tokens_total;
  if (!lane->choice.finish()) return;
  Leave(lane);
  if (owner.AllFinished()) ++stats_.finished_total;
}

}  // namespace mixtral
