// SPDX-License-Identifier: Apache-2.0
// A name is obeyed; without one the model decides.
#include "text/chat_choice.h"

#include "base/error.h"

namespace mixtral {

ChosenChat ChooseChat(const std::string& name, const Tokenizer& tokenizer, const std::string& path,
                      const std::function<std::optional<std::string>()>& jinja) {
  constexpr const char* kAsked = "--chat-format";
  const bool is_template = name == ChatFormatName(ChatFormat::kTemplate);
  if (!name.empty() && !is_template) return {{ChatFormatFromName(name), &tokenizer}, kAsked};
  const std::optional<std::string> text = jinja();
  if (is_template && !text)
    Throw(ErrorCode::kNotFound,
          "chat format template: expected a chat template in the model, found none, in {}", path);
  return WithContext(path, [&]() -> ChosenChat {
    if (is_template) return {{std::string_view(*text), &tokenizer}, kAsked};
    const ChatFormatChoice choice = ChooseChatFormat(text, tokenizer);
    if (choice.format != ChatFormat::kTemplate) return {{choice.format, &tokenizer}, choice.reason};
    return {{std::string_view(*text), &tokenizer}, choice.reason};
  });
}

}  // namespace mixtral
