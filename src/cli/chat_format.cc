// SPDX-License-Identifier: Apache-2.0
// The flag alone.
#include "cli/chat_format.h"

namespace mixtral::cli {

void AddChatFormat(CommandLine& line, std::string* format) {
  const auto names = ChatFormatNames();
  line.Choice("--chat-format", format, {names.begin(), names.end()},
              "How conversations are written (default: by the model's template or vocabulary)");
}

}  // namespace mixtral::cli
