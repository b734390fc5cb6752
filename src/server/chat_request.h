// SPDX-License-Identifier: Apache-2.0
// A conversation to be continued, however it was asked for (OpenAI's chat or Anthropic's messages),
// and the prompt that it becomes.
#pragma once

#include <string>
#include <vector>

#include "server/generation.h"

namespace mixtral::server {

enum class ToolChoice : uint8_t { kNone, kAuto, kRequired, kNamed };

struct ChatRequest {
  GenerationRequest common;
  std::vector<Message> messages;
  std::vector<Tool> tools;
  ToolChoice tool_choice = ToolChoice::kAuto;
  std::string tool_name;  // kNamed
  bool continue_final_message = false, add_generation_prompt = true;
  bool one_tool_call = false;  // parallel_tool_calls: false
};

/// What the model's output goes on from, when a call is demanded.
struct ForcedCall {
  bool is_forced = false;
  std::string text;  // after [TOOL_CALLS], part of the prompt
};

/// OpenAI's /v1/chat/completions body.
ChatRequest ParseChat(const Json& body, const ServedModel& model);
/// Fills request->common.service.prompt and its stops; says how a demanded call begins.
ForcedCall PreparePrompt(const ServedModel& model, ChatRequest* request);
/// The prompt's ids alone.
std::vector<TokenId> RenderChat(const ServedModel& model, const ChatRequest& request);

}  // namespace mixtral::server
