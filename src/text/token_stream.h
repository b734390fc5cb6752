// SPDX-License-Identifier: Apache-2.0
// Token ids in, text out as soon as it is certain: UTF-8 sequences are never cut, stop strings are
// found across token boundaries and never printed. Concatenating all output gives Tokenizer::Decode
// of all ids (up to the stop).
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace mixtral {

enum class StreamStart : uint8_t {
  kNewText,       // the first piece's dummy-prefix space is dropped, as Decode does
  kContinuation,  // text goes on after something already shown: a leading space is kept
};

class TokenStream {
 public:
  TokenStream(const Tokenizer* tokenizer, StreamStart start, std::vector<std::string> stop = {});

  /// Adds a token and returns the text that is now certain (maybe empty). After a stop string
  /// nothing more comes out.
  std::string Push(TokenId id);
  /// The rest: an unfinished UTF-8 sequence as U+FFFD per byte, text held back for a stop string
  /// that did not come.
  std::string Finish();
  bool stopped() const { return stopped_; }  // a stop string was found
  const std::string& stop_string() const { return found_; }

 private:
  void Append(TokenId id);
  std::string Release(bool at_end);

  const Tokenizer* tokenizer_;
  std::vector<std::string> stop_;
  std::string bytes_;    // raw bytes of byte pieces, not yet decided
  std::string pending_;  // decoded text held back because a stop string may begin in it
  std::string found_;
  bool at_start_ = true, stopped_ = false;
};

}  // namespace mixtral
