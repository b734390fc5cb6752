// SPDX-License-Identifier: Apache-2.0
// Ids to text, one at a time: the rules that Tokenizer::Decode and TokenStream share, so that a
// stream can't differ from a decoded list. Knows nothing of stop strings.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace mixtral {

enum class StreamStart : uint8_t {
  kNewText,       // the first piece's dummy-prefix space is dropped, as Decode does
  kContinuation,  // text goes on after something already shown: a leading space is kept
};

class Detokenizer {
 public:
  Detokenizer(const Tokenizer* tokenizer, StreamStart start);

  /// Appends to out the text that id makes certain: whole valid UTF-8 only. Bytes that may still
  /// become a character wait.
  void Push(TokenId id, std::string* out);
  /// Appends what waits, each byte as U+FFFD, since its sequence was never finished.
  void Finish(std::string* out);

 private:
  void Emit(std::string_view text, std::string* out);

  const Tokenizer* tokenizer_;
  std::string bytes_;         // of byte pieces, the begin of a sequence not yet finished
  bool strip_space_ = false;  // a leading space of the next piece is the dummy prefix
};

}  // namespace mixtral
