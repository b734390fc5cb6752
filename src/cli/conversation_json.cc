// SPDX-License-Identifier: Apache-2.0
// Arguments and parameters may be JSON or text that holds JSON; the formats want text.
#include "cli/conversation_json.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "cli/output.h"

namespace mixtral::cli {
namespace {

std::string StringOr(const Json& object, std::string_view key, std::string_view otherwise) {
  const auto value = object.Find(key);
  return value ? value->AsString() : std::string(otherwise);
}

void RequireFunction(const Json& object) {
  const std::string type = StringOr(object, "type", "function");
  if (type != "function")
    Throw(ErrorCode::kCorrupt, "{}.type: expected 'function', found '{}'", object.path(),
          Printable(type, 40));
}

ToolCall ReadToolCall(const Json& call) {
  constexpr std::string_view kCallKeys[] = {"id", "type", "function"};
  constexpr std::string_view kFunctionKeys[] = {"name", "arguments"};
  RefuseUnknownKeys(call, kCallKeys);
  RequireFunction(call);
  const Json function = call.At("function");
  RefuseUnknownKeys(function, kFunctionKeys);
  const auto arguments = function.Find("arguments");
  std::string text;
  if (arguments) text = arguments->IsString() ? arguments->AsString() : arguments->Dump();
  return {.id = StringOr(call, "id", ""),
          .name = function.At("name").AsString(),
          .arguments = std::move(text)};
}

Message ReadMessage(const Json& value) {
  constexpr std::string_view kKeys[] = {"role", "content", "tool_calls", "tool_call_id", "name"};
  RefuseUnknownKeys(value, kKeys);
  Message message;
  message.role = value.At("role").AsString();
  if (const auto calls = value.Find("tool_calls"))
    for (size_t i = 0; i < calls->Size(); ++i)
      message.tool_calls.push_back(ReadToolCall(calls->At(i)));
  // A message that calls has no content, or null.
  message.content =
      message.tool_calls.empty() ? value.At("content").AsString() : StringOr(value, "content", "");
  message.tool_call_id = StringOr(value, "tool_call_id", "");
  message.name = StringOr(value, "name", "");
  return message;
}

Tool ReadTool(const Json& value) {
  constexpr std::string_view kToolKeys[] = {"type", "function"};
  constexpr std::string_view kFunctionKeys[] = {"name", "description", "parameters"};
  RefuseUnknownKeys(value, kToolKeys);
  RequireFunction(value);
  const Json function = value.At("function");
  RefuseUnknownKeys(function, kFunctionKeys);
  const auto parameters = function.Find("parameters");
  return {.name = function.At("name").AsString(),
          .description = StringOr(function, "description", ""),
          .parameters = parameters ? parameters->Dump() : "{}"};
}

}  // namespace

RenderOptions ConversationInput::Options() const {
  return {.continue_final_message = continue_final_message, .tools = tools};
}

ConversationInput ReadConversation(const Json& value) {
  constexpr std::string_view kKeys[] = {"messages", "tools", "continue_final_message"};
  ConversationInput input;
  if (!value.IsArray()) RefuseUnknownKeys(value, kKeys);
  const Json messages = value.IsArray() ? value : value.At("messages");
  for (size_t i = 0; i < messages.Size(); ++i)
    input.messages.push_back(ReadMessage(messages.At(i)));
  if (value.IsArray()) return input;
  if (const auto tools = value.Find("tools"))
    for (size_t i = 0; i < tools->Size(); ++i) input.tools.push_back(ReadTool(tools->At(i)));
  if (const auto continued = value.Find("continue_final_message"))
    input.continue_final_message = continued->AsBool();
  return input;
}

Json ConversationToJson(std::span<const Message> messages) {
  Json list = Json::Array();
  for (const Message& message : messages)
    list.Push(Json::Object().Set("role", message.role).Set("content", message.content));
  return Json::Object().Set("messages", std::move(list));
}

void RefuseUnknownKeys(const Json& object, std::span<const std::string_view> known) {
  for (const std::string& key : object.Keys())
    if (std::find(known.begin(), known.end(), key) == known.end())
      Throw(ErrorCode::kCorrupt, "{}: expected the keys {}, found '{}'", object.path(),
            JoinNames(known, ", "), Printable(key));
}

}  // namespace mixtral::cli
