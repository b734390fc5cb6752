// SPDX-License-Identifier: Apache-2.0
// Which chat format a model's conversations are written in, when somebody may ask for one by name.
// Used by the commands that know --chat-format and by measurements.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "text/chat_template.h"

namespace mixtral {

struct ChosenChat {
  ChatTemplate chat_template;
  std::string reason;  // for people to read
};

/// The format named, or the model's own when `name` is empty: by its template, which jinja() gives,
/// else by its vocabulary. "template" without a template: Error{kNotFound} naming `path`. Throws
/// what ChooseChatFormat throws.
ChosenChat ChooseChat(const std::string& name, const Tokenizer& tokenizer, const std::string& path,
                      const std::function<std::optional<std::string>()>& jinja);

}  // namespace mixtral
