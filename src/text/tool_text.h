// SPDX-License-Identifier: Apache-2.0
// Tools, calls and results as the JSON text that Mistral's v2 and v3 encoders make, and as values
// for templates. Used by chat_formats.cc and template_chat.cc.
#pragma once

#include <span>
#include <string>

#include "text/chat_template.h"
#include "text/conversation.h"
#include "text/jinja/value.h"

namespace mixtral {

/// {"type": "function", "function": {"name", "description", "parameters"}}. Throws
/// Error{kInvalidArgument} naming the tool's index when parameters is no JSON object.
jinja::Value ToolValue(const Tool& tool, size_t index);
/// JSON text as what it says; other text as a string; nothing as {}.
jinja::Value JsonOrText(const std::string& text);

std::string AvailableToolsText(std::span<const Tool> tools);
/// format is kMistralV2 or kMistralV3.
std::string ToolCallsText(const Turn& turn, ChatFormat format);
std::string ToolResultText(const Turn& turn, ChatFormat format);

}  // namespace mixtral
