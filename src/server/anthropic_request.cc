// SPDX-License-Identifier: Apache-2.0
// Blocks of text, tool_use and tool_result become messages of a chat.
#include "server/anthropic_request.h"

#include "base/strings.h"
#include "server/fields.h"

namespace mixtral::server {
namespace {

constexpr size_t kMaxMessages = 4096, kMaxStops = 16;
constexpr int64_t kMaxTokens = 1 << 30;

std::string ParamOf(const Json& value) { return value.path().substr(2); }

/// A string or a list of text blocks.
std::string BlocksText(const Json& content) {
  if (content.IsString()) return content.AsString();
  std::string text;
  for (size_t i = 0; i < content.Size(); ++i) {
    const Json block = content.At(i);
    if (block.At("type").AsString() != "text") ThrowField(ParamOf(block), "expected a text block");
    if (!text.empty()) text += "\n";
    text += block.At("text").AsString();
  }
  return text;
}

void AppendBlocks(const Json& message, const std::string& role, std::vector<Message>* messages) {
  const Json content = message.At("content");
  if (content.IsString()) return messages->push_back({role, content.AsString()});
  Message turn{role, ""};
  for (size_t i = 0; i < content.Size(); ++i) {
    const Json block = content.At(i);
    const std::string type = block.At("type").AsString();
    if (type == "text") {
      turn.content += (turn.content.empty() ? "" : "\n") + block.At("text").AsString();
    } else if (type == "tool_use" && role == "assistant") {
      turn.tool_calls.push_back(
          {block.At("id").AsString(), block.At("name").AsString(), block.At("input").Dump()});
    } else if (type == "tool_result" && role == "user") {
      Message result{"tool", ""};
      if (const auto inner = block.Find("content")) result.content = BlocksText(*inner);
      result.tool_call_id = block.At("tool_use_id").AsString();
      messages->push_back(std::move(result));
    } else if (type != "thinking" && type != "redacted_thinking") {
      ThrowField(ParamOf(block), "expected text, tool_use or tool_result, found '{}'",
                 Printable(type, 40));
    }
  }
  const bool is_only_results = role == "user" && turn.content.empty() && !messages->empty() &&
                               messages->back().role == "tool";
  if (!is_only_results) messages->push_back(std::move(turn));
}

std::vector<Message> ParseAnthropicMessages(const Json& body) {
  std::vector<Message> messages;
  if (const auto system = body.Find("system")) messages.push_back({"system", BlocksText(*system)});
  const Json list = body.At("messages");
  if (!list.IsArray() || list.Size() == 0 || list.Size() > kMaxMessages)
    ThrowField("messages", "expected a list of 1 to {} messages", kMaxMessages);
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json message = list.At(i);
    const std::string role = message.At("role").AsString();
    if (role != "user" && role != "assistant" && role != "system")
      ThrowField(ParamOf(message.At("role")), "expected user or assistant, found '{}'",
                 Printable(role, 40));
    AppendBlocks(message, role, &messages);
  }
  return messages;
}

void ReadTools(const Json& body, ChatRequest* request) {
  if (const auto tools = body.Find("tools")) {
    for (size_t i = 0; i < tools->Size(); ++i) {
      const Json item = tools->At(i);
      Tool tool;
      tool.name = item.At("name").AsString();
      tool.description = TextField(item, "description").value_or("");
      if (const auto schema = item.Find("input_schema")) tool.parameters = schema->Dump();
      request->tools.push_back(std::move(tool));
    }
  }
  request->tool_choice = request->tools.empty() ? ToolChoice::kNone : ToolChoice::kAuto;
  const auto choice = body.Find("tool_choice");
  if (!choice || request->tools.empty()) return;
  const std::string type = ChoiceField(*choice, "type", {"auto", "any", "tool", "none"}, "auto");
  if (type == "none") request->tool_choice = ToolChoice::kNone;
  if (type == "any") request->tool_choice = ToolChoice::kRequired;
  if (type == "tool") {
    request->tool_choice = ToolChoice::kNamed;
    request->tool_name = choice->At("name").AsString();
  }
  request->one_tool_call = BoolField(*choice, "disable_parallel_tool_use").value_or(false);
}

}  // namespace

ChatRequest ParseAnthropic(const Json& body, const ServedModel& model, NeedsMaxTokens needs) {
  ChatRequest request;
  request.common = ParseGeneration(body, model.facts());
  model.CheckName(request.common.model);
  ServiceRequest& service = request.common.service;
  service.n = 1;
  const auto limit = IntField(body, "max_tokens", 1, kMaxTokens);
  if (!limit && needs == NeedsMaxTokens::kYes)
    ThrowField("max_tokens", "expected an integer of at least 1, found none");
  service.max_tokens = limit.value_or(1);
  if (const auto stops = body.Find("stop_sequences")) {
    service.stop = TextOrTexts(*stops, kMaxStops);
    for (const std::string& stop : service.stop)
      if (stop.empty()) ThrowField("stop_sequences", "expected strings, found an empty one");
  }
  request.messages = ParseAnthropicMessages(body);
  ReadTools(body, &request);
  // A last message of the assistant's is the beginning of the answer.
  const Message& last = request.messages.back();
  request.continue_final_message = last.role == "assistant" && last.tool_calls.empty();
  return request;
}

}  // namespace mixtral::server
