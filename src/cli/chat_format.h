// SPDX-License-Identifier: Apache-2.0
// --chat-format: which format a command writes conversations in. What it means is in
// text/chat_choice.h.
#pragma once

#include <string>

#include "cli/command_line.h"
#include "text/chat_choice.h"

namespace mixtral::cli {

void AddChatFormat(CommandLine& line, std::string* format);

}  // namespace mixtral::cli
