// SPDX-License-Identifier: Apache-2.0
// One Knuth-Morris-Pratt automaton for each string: constant work for each byte, however long and
// repetitive the strings of a request are.
#include "text/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace mixtral {

StopMatcher::Pattern StopMatcher::MakePattern(std::string text) {
  Pattern pattern;
  pattern.fallback.assign(text.size() + 1, 0);
  for (size_t i = 1, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != text[k]) k = pattern.fallback[k];
    if (text[i] == text[k]) ++k;
    pattern.fallback[i + 1] = k;
  }
  pattern.text = std::move(text);
  return pattern;
}

StopMatcher::StopMatcher(std::vector<std::string> strings) {
  for (std::string& text : strings) {
    if (!text.empty() && IsValidUtf8(text)) patterns_.push_back(MakePattern(std::move(text)));
  }
}

bool StopMatcher::Push(char byte) {
  bool complete = false;
  held_ = 0;
  for (size_t i = 0; i < patterns_.size(); ++i) {
    Pattern& pattern = patterns_[i];
    size_t& k = pattern.matched;
    if (k == pattern.text.size()) k = pattern.fallback[k];
    while (k > 0 && byte != pattern.text[k]) k = pattern.fallback[k];
    if (byte == pattern.text[k]) ++k;
    const bool ends = k == pattern.text.size();
    if (ends && (!complete || k > held_)) {
      found_ = i;
      held_ = k;
      complete = true;
    } else if (!complete) {
      held_ = std::max(held_, k);
    }
  }
  return complete;
}

}  // namespace mixtral
