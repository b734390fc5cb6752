// SPDX-License-Identifier: Apache-2.0
// Token ids in, text out as soon as it is certain: UTF-8 sequences are never cut, stop strings are
// found across token boundaries and never printed. Concatenating all output gives Tokenizer::Decode
// of all ids (up to the stop).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/detokenizer.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"

namespace mixtral {

enum class LookForStops : uint8_t { kNo, kYes };

class TokenStream {
 public:
  /// The stop string that is complete first wins; of several that end together, the longest. Empty
  /// ones and ones that are not valid UTF-8 are ignored.
  TokenStream(const Tokenizer* tokenizer, StreamStart start, std::vector<std::string> stop = {});

  /// Adds a token and returns the text that is now certain (maybe empty). After a stop string
  /// nothing more comes out. kNo, before the first kYes: its text cannot be part of a stop string.
  std::string Push(TokenId id, LookForStops look = LookForStops::kYes);
  /// The rest: an unfinished UTF-8 sequence as U+FFFD per byte, text held back for a stop string
  /// that did not come. The last call.
  std::string Finish();
  bool stopped() const { return stopped_; }  // a stop string was found
  const std::string& stop_string() const { return found_; }

 private:
  std::string Release();

  Detokenizer detokenizer_;
  StopMatcher stops_;
  std::string pending_;   // decoded text not yet given out: a stop string may begin in it
  size_t n_matched_ = 0;  // bytes of pending_ that stops_ has seen
  std::string found_;
  bool stopped_ = false;
};

}  // namespace mixtral
