// SPDX-License-Identifier: Apache-2.0
// --chat-format: which format a command writes conversations in, and why. Used by `chat` and
// `tokenize`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/command_line.h"
#include "text/chat_template.h"

namespace mixtral::cli {

void AddChatFormat(CommandLine& line, std::string* format);

struct ChosenChat {
  ChatTemplate chat_template;
  std::string reason;  // for people to read
};
/// The format named, or the model's own when `name` is empty: by its template, which jinja() gives,
/// else by its vocabulary. "template" without a template: Error{kNotFound} naming `path`. Throws
/// what ChooseChatFormat throws.
ChosenChat ChooseChat(const std::string& name, const Tokenizer& tokenizer, const std::string& path,
                      const std::function<std::optional<std::string>()>& jinja);

}  // namespace mixtral::cli
