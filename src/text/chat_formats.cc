// SPDX-License-Identifier: Apache-2.0
// What a string and what an id is matters: text between control ids is encoded on its own, with a
// dummy prefix of its own. docs/chat.md has the same in words.
#include "text/chat_formats.h"

#include "base/error.h"
#include "text/conversation.h"
#include "text/tool_text.h"

namespace mixtral {
namespace {

std::string Rule(const Turn& turn, std::string_view what) { return turn.label + std::string(what); }

void WriteEnd(const Rendering& r, const Turn& turn, bool is_continued, TokenWriter* writer) {
  writer->EndText();
  if (!is_continued) writer->Id(r.tokenizer.eos_id(), "EOS after " + turn.label);
}

void WriteContent(const Turn& turn, std::string_view system, TokenWriter* writer) {
  if (!system.empty()) {
    writer->Text(system, Rule(turn, ": system prompt"));
    writer->Text("\n\n", Rule(turn, ": system prompt"));
  }
  writer->Text(turn.content, Rule(turn, " content"));
}

void WriteAvailableTools(const Rendering& r, const Turn& turn, TokenWriter* writer) {
  if (r.options.tools.empty()) return;
  writer->Special("[AVAILABLE_TOOLS]", Rule(turn, ": [AVAILABLE_TOOLS]"));
  writer->Text(AvailableToolsText(r.options.tools), Rule(turn, ": tools"));
  writer->Special("[/AVAILABLE_TOOLS]", Rule(turn, ": [/AVAILABLE_TOOLS]"));
}

enum class Strip : uint8_t { kBoth, kLeft };

std::string_view StripSpace(std::string_view text, Strip sides) {
  constexpr std::string_view kSpace = " \t\n\v\f\r\x1C\x1D\x1E\x1F";  // ASCII part of str.strip()
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  const size_t end = sides == Strip::kLeft ? text.size() : text.find_last_not_of(kSpace) + 1;
  return text.substr(begin, end - begin);
}

}  // namespace

void WriteMistralV1(const Rendering& r, TokenWriter* writer) {
  const Conversation conversation = MakeConversation(r.messages, JoinAcross::kNothing);
  const std::vector<Turn>& turns = conversation.turns;
  writer->Id(r.tokenizer.bos_id(), "BOS");
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].speaker == Speaker::kUser) {
      writer->Text("[INST] ", Rule(turns[i], ": [INST]"));
      WriteContent(turns[i], i == 0 ? conversation.system : "", writer);
      writer->Text(" [/INST]", Rule(turns[i], ": [/INST]"));
      writer->EndText();
    } else {
      WriteContent(turns[i], "", writer);
      WriteEnd(r, turns[i], r.IsContinued(i, turns.size()), writer);
    }
  }
}

/// Version 2 names a result by its function and forgets calls and results before the last user's
/// turn; version 3 gives ids and keeps all.
void WriteMistralV2V3(const Rendering& r, ChatFormat format, TokenWriter* writer) {
  const Conversation conversation = MakeConversation(r.messages, JoinAcross::kNothing);
  const std::vector<Turn>& turns = conversation.turns;
  size_t last_user = turns.size() - 1;
  while (turns[last_user].speaker != Speaker::kUser) --last_user;  // the first is a user's

  writer->Id(r.tokenizer.bos_id(), "BOS");
  for (size_t i = 0; i < turns.size(); ++i) {
    const Turn& turn = turns[i];
    const bool is_of_tools = turn.speaker == Speaker::kTool || !turn.tool_calls.empty();
    if (is_of_tools && format == ChatFormat::kMistralV2 && i < last_user) continue;
    if (turn.speaker == Speaker::kUser) {
      if (i == last_user) WriteAvailableTools(r, turn, writer);
      writer->Special("[INST]", Rule(turn, ": [INST]"));
      WriteContent(turn, i == last_user ? conversation.system : "", writer);
      writer->Special("[/INST]", Rule(turn, ": [/INST]"));
    } else if (turn.speaker == Speaker::kTool) {
      writer->Special("[TOOL_RESULTS]", Rule(turn, ": [TOOL_RESULTS]"));
      writer->Text(ToolResultText(turn, format), Rule(turn, " content"));
      writer->Special("[/TOOL_RESULTS]", Rule(turn, ": [/TOOL_RESULTS]"));
    } else if (!turn.tool_calls.empty()) {
      writer->Special("[TOOL_CALLS]", Rule(turn, ": [TOOL_CALLS]"));
      writer->Text(ToolCallsText(turn, format), Rule(turn, " tool calls"));
      WriteEnd(r, turn, r.IsContinued(i, turns.size()), writer);
    } else {
      const std::string_view content = turn.content;
      writer->Text(content.substr(0, content.find_last_not_of(' ') + 1), Rule(turn, " content"));
      WriteEnd(r, turn, r.IsContinued(i, turns.size()), writer);
    }
  }
}

void WriteLlama2(const Rendering& r, TokenWriter* writer) {
  Conversation conversation = MakeConversation(r.messages, JoinAcross::kSystem);
  std::vector<Turn>& turns = conversation.turns;  // user's and assistant's in turn
  if (!conversation.system.empty()) {
    turns[0].content = "<<SYS>>\n" + conversation.system + "\n<</SYS>>\n\n" + turns[0].content;
  }
  for (size_t i = 0; i < turns.size(); i += 2) {
    writer->Id(r.tokenizer.bos_id(), "BOS of " + turns[i].label);
    writer->Text("[INST] ", Rule(turns[i], ": [INST]"));
    writer->Text(StripSpace(turns[i].content, Strip::kBoth), Rule(turns[i], " content"));
    writer->Text(" [/INST]", Rule(turns[i], ": [/INST]"));
    if (i + 1 == turns.size()) break;
    const Turn& answer = turns[i + 1];
    const bool continued = r.IsContinued(i + 1, turns.size());
    writer->Text(" ", Rule(answer, ": space before"));
    writer->Text(StripSpace(answer.content, continued ? Strip::kLeft : Strip::kBoth),
                 Rule(answer, " content"));
    if (continued) break;
    writer->Text(" ", Rule(answer, ": space after"));
    WriteEnd(r, answer, continued, writer);
  }
}

void WriteChatMl(const Rendering& r, TokenWriter* writer) {
  writer->Id(r.tokenizer.bos_id(), "BOS");
  for (size_t i = 0; i < r.messages.size(); ++i) {
    const std::string label = fmt::format("message {} ({})", i + 1, r.messages[i].role);
    writer->Special(kImStart, label + ": <|im_start|>");
    writer->Text(r.messages[i].role + "\n", label + ": role");
    writer->Text(r.messages[i].content, label + " content");
    if (r.IsContinued(i, r.messages.size())) return;
    writer->Special(kImEnd, label + ": <|im_end|>");
    writer->Text("\n", label + ": line feed");
  }
  if (r.options.add_generation_prompt && r.messages.back().role != "assistant") {
    writer->Special(kImStart, "generation prompt");
    writer->Text("assistant\n", "generation prompt");
  }
}

void WriteNone(const Rendering& r, TokenWriter* writer) {
  writer->Id(r.tokenizer.bos_id(), "BOS");
  for (size_t i = 0; i < r.messages.size(); ++i) {
    if (i > 0) writer->Text("\n", "line feed between messages");
    writer->Text(r.messages[i].content, fmt::format("message {} content", i + 1));
  }
}

}  // namespace mixtral
