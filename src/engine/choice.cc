// SPDX-License-Identifier: Apache-2.0
// The order of the ends is that of engine/session.cc: EOS, stop string, length, context.
#include "engine/choice.h"

#include <algorithm>

#include "base/check.h"

namespace mixtral {

Choice::Choice(const Engine& engine, const ServiceRequest* request, int index, int64_t context)
    : request_(request),
      index_(index),
      context_(context),
      prompt_tokens_(std::ssize(request->prompt)),
      // Rows beyond the tokenizer's pieces are padding; choosing one would print nothing.
      n_choosable_(engine.has_tokenizer() ? engine.tokenizer().vocab_size()
                                          : engine.config().vocab_size),
      sampler_config_(request->sampler) {
  sampler_config_.seed += static_cast<uint64_t>(index);
  const int64_t room = context - prompt_tokens_ + 1;
  const int64_t wanted = request->max_tokens < 0 ? room : std::min(room, request->max_tokens);
  tokens_.reserve(static_cast<size_t>(prompt_tokens_ + wanted));  // nothing grows while decoding
  tokens_ = request->prompt;
  if (!request->ignore_eos) {
    end_ids_ = request->stop_tokens;
    end_ids_.insert(end_ids_.end(), engine.eos_ids().begin(), engine.eos_ids().end());
  }
  sampler_config_.end_ids.insert(sampler_config_.end_ids.end(), end_ids_.begin(), end_ids_.end());
  sampler_config_.min_tokens = static_cast<int>(
      std::max<int64_t>(sampler_config_.min_tokens, std::min(request->min_tokens, context)));
  if (engine.has_tokenizer())
    text_.emplace(&engine.tokenizer(), request->stream_start, request->stop);
}

bool Choice::IsEnd(TokenId id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

TokenId Choice::Pick(std::span<float> logits) {
  if (!sampler_) sampler_.emplace(sampler_config_, n_choosable_);
  return sampler_->Pick(logits.first(static_cast<size_t>(n_choosable_)),
                        {.tokens = tokens_, .n_prompt = static_cast<size_t>(prompt_tokens_)});
}

void Choice::Take(std::span<float> logits, ServiceDelta* delta) {
  Check(!finish_, "a choice that is over takes nothing");
  const bool scored = request_->top_logprobs >= 0;
  std::vector<float> own;  // the model's distribution, which picking changes
  if (scored) own.assign(logits.begin(), logits.end());
  const TokenId id = Pick(logits);
  tokens_.push_back(id);
  ScoredToken& token = delta->tokens.emplace_back();
  token.token.id = id;
  if (scored) token = ScoreToken(own, id, request_->top_logprobs);

  // The lowest id is picked when nothing else is left, so an end may come before min_tokens.
  if (IsEnd(id) && n_generated() > request_->min_tokens) {
    if (request_->include_stop_text) AddText(id, delta);
    return End(FinishReason::kEos, delta);
  }
  AddText(id, delta);
  if (text_ && text_->stopped()) {
    delta->stop_string = text_->stop_string();
    if (request_->include_stop_text) delta->text += delta->stop_string;
    return End(FinishReason::kStop, delta);
  }
  if (request_->max_tokens >= 0 && n_generated() >= request_->max_tokens)
    return End(FinishReason::kLength, delta);
  if (std::ssize(tokens_) > context_) End(FinishReason::kContextFull, delta);
}

void Choice::AddText(TokenId id, ServiceDelta* delta) {
  if (!text_) return;
  const bool early = n_generated() <= request_->min_tokens;
  delta->text += text_->Push(id, early ? LookForStops::kNo : LookForStops::kYes);
}

void Choice::End(FinishReason reason, ServiceDelta* delta) {
  if (text_ && !text_->stopped()) delta->text += text_->Finish();
  finish_ = reason;
  delta->finish = reason;
}

}  // namespace mixtral
