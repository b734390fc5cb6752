// SPDX-License-Identifier: Apache-2.0
// Finds the first of several strings in text that arrives in parts, byte by byte, so that the
// result can't depend on how the text was parted. Used by TokenStream.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral {

class StopMatcher {
 public:
  /// Strings that are empty or not valid UTF-8 can't stop anything and are left out.
  explicit StopMatcher(std::vector<std::string> strings);

  /// Takes the next byte; true when a string has just become complete. The one complete first
  /// wins; of several that end together, the longest.
  bool Push(char byte);
  /// How many of the last bytes may be the begin of a string (after a match: are the string).
  size_t held() const { return held_; }
  /// The string found, after Push gave true.
  const std::string& found() const { return patterns_[found_].text; }

 private:
  struct Pattern {
    std::string text;
    std::vector<size_t>
        fallback;        // [text.size() + 1], the failure function of Knuth, Morris, Pratt
    size_t matched = 0;  // bytes of text that the last bytes agree with
  };
  static Pattern MakePattern(std::string text);

  std::vector<Pattern> patterns_;
  size_t held_ = 0, found_ = 0;
};

}  // namespace mixtral
