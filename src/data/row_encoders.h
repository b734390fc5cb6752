// SPDX-License-Identifier: Apache-2.0
// Rows of the three kinds of training data -> tokens and masks. docs/training-data.md has the forms
// that are read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/document.h"
#include "text/chat_template.h"

namespace mixtral::data {

/// A text file, or the string text_field of a JSON object: BOS, the text, EOS. Text without a
/// letter gives no document. What the makers are given outlives the encoder.
RowEncoder MakeTextEncoder(const Tokenizer* tokenizer, std::string text_field);

/// {"messages": [...]} or ShareGPT's {"conversations": [...]}: the loss is on what the assistant
/// says. Rows without an assistant's message are wrong.
RowEncoder MakeChatEncoder(const ChatTemplate* chat_template);

/// {"prompt", "chosen", "rejected"}, strings or lists of messages: two documents, the loss on the
/// last answer of each.
RowEncoder MakePreferenceEncoder(const ChatTemplate* chat_template);

/// 1 for tokens that the assistant writes in a rendered conversation: its texts, its calls of
/// tools, and what ends its turns; not the header before them. Throws Error{kUnsupported} for
/// tokens whose origin cannot be told and for the format none.
std::vector<uint8_t> AnswerMask(std::span<const ExplainedToken> tokens,
                                const ChatTemplate& chat_template);

struct ParsedChat {
  std::vector<Message> messages;
  std::vector<Tool> tools;
};
/// The conversation of a row's key "messages" or "conversations". Throws Error{kCorrupt} naming the
/// JSON path.
ParsedChat ParseChat(const Json& row);
/// A list of {"role", "content"} or of ShareGPT's {"from", "value"}.
std::vector<Message> ParseMessages(const Json& list);

}  // namespace mixtral::data
