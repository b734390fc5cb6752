// SPDX-License-Identifier: Apache-2.0
// The two ways to write several lines; a pasted text comes as one line already (line_editor.h).
#include "cli/chat_input.h"

#include <string_view>

namespace mixtral::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

/// Takes the end mark off; false: there is none.
bool TakeEnd(std::string* text, std::string_view mark) {
  if (!text->ends_with(mark)) return false;
  text->resize(text->size() - mark.size());
  return true;
}

}  // namespace

LineEvent ChatInput::ReadBlock(std::string first, ChatEntry* entry) {
  entry->is_block = true;
  entry->text = std::move(first);
  bool is_done = TakeEnd(&entry->text, kQuotes);
  while (!is_done) {
    std::string line;
    const LineEvent event = reader_->Next(LinePrompt::kContinued, &line);
    if (event == LineEvent::kInterrupt) return event;
    if (event == LineEvent::kEnd) break;
    is_done = TakeEnd(&line, kQuotes);
    if (!entry->text.empty()) entry->text += '\n';
    entry->text += line;
  }
  // The line end before closing quotes of a line of their own is not meant.
  if (is_done && entry->text.ends_with('\n')) entry->text.pop_back();
  return LineEvent::kLine;
}

LineEvent ChatInput::Start(ChatEntry* entry) {
  *entry = {};
  const LineEvent first = reader_->Next(LinePrompt::kMessage, &entry->text);
  if (first != LineEvent::kLine) return first;
  if (entry->text.starts_with(kQuotes)) return ReadBlock(entry->text.substr(kQuotes.size()), entry);
  while (TakeEnd(&entry->text, "\\")) {
    std::string line;
    const LineEvent event = reader_->Next(LinePrompt::kContinued, &line);
    if (event == LineEvent::kInterrupt) return event;
    if (event == LineEvent::kEnd) break;
    entry->text += '\n' + line;
  }
  return LineEvent::kLine;
}

LineEvent ChatInput::Next(ChatEntry* entry) {
  while (true) {
    const LineEvent event = Start(entry);
    if (event == LineEvent::kInterrupt && !entry->text.empty()) continue;
    return event;
  }
}

}  // namespace mixtral::cli
