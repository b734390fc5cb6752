// SPDX-License-Identifier: Apache-2.0
// The detokenizer makes text certain, the stop matcher says how much of it must still wait.
#include "text/token_stream.h"

#include <utility>

namespace mixtral {

TokenStream::TokenStream(const Tokenizer* tokenizer, StreamStart start,
                         std::vector<std::string> stop)
    : detokenizer_(tokenizer, start), stops_(std::move(stop)) {}

std::string TokenStream::Push(TokenId id, LookForStops look) {
  if (stopped_) return "";
  detokenizer_.Push(id, &pending_);
  if (look == LookForStops::kYes) return Release();
  n_matched_ = 0;
  return std::exchange(pending_, "");
}

std::string TokenStream::Finish() {
  if (stopped_) return "";
  detokenizer_.Finish(&pending_);
  std::string text = Release();
  n_matched_ = 0;
  return text + std::exchange(pending_, "");
}

std::string TokenStream::Release() {
  size_t n_held = stops_.held();
  while (n_matched_ < pending_.size()) {
    const bool found = stops_.Push(pending_[n_matched_++]);
    n_held = stops_.held();
    if (!found) continue;
    stopped_ = true;
    found_ = stops_.found();
    std::string text = pending_.substr(0, n_matched_ - n_held);
    pending_.clear();
    return text;
  }
  std::string text = pending_.substr(0, pending_.size() - n_held);
  pending_.erase(0, text.size());
  n_matched_ = pending_.size();
  return text;
}

}  // namespace mixtral
