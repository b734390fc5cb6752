// SPDX-License-Identifier: Apache-2.0
// Messages out of lines: a backslash at the end goes on with the next line, and """ begins a block
// that ends with """. Used by `chat` alone.
#pragma once

#include <string>

#include "cli/line_editor.h"

namespace mixtral::cli {

struct ChatEntry {
  std::string text;
  bool is_block = false;  // in """: a message whatever it begins with
};

class ChatInput {
 public:
  explicit ChatInput(LineReader* reader) : reader_(reader) {}
  /// As LineReader::Next. What the end of input finds unfinished counts as finished; Ctrl-C leaves
  /// an unfinished entry out and begins anew.
  LineEvent Next(ChatEntry* entry);

 private:
  LineEvent Start(ChatEntry* entry);
  LineEvent ReadBlock(std::string first, ChatEntry* entry);

  LineReader* reader_;
};

}  // namespace mixtral::cli
