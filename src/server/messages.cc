// SPDX-License-Identifier: Apache-2.0
// Clients send what OpenAI's endpoint accepts; Mistral's request validator is much stricter.
#include "server/messages.h"

#include <algorithm>

#include "base/rng.h"
#include "base/strings.h"
#include "server/fields.h"

namespace mixtral::server {
namespace {

constexpr size_t kMaxMessages = 4096, kMaxTools = 256, kIdLength = 9;
constexpr std::string_view kBetween = ".";  // an assistant's words between a result and a user's

bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// A string, null, or a list of text parts (joined by nothing, as OpenAI's models see them).
std::string ContentText(const Json& message) {
  const auto content = message.Find("content");
  if (!content) return "";
  if (content->IsString()) return content->AsString();
  if (!content->IsArray())
    ThrowField(content->path().substr(2), "expected a string or a list of parts");
  std::string text;
  for (size_t i = 0; i < content->Size(); ++i) {
    const Json part = content->At(i);
    if (part.IsString()) {
      text += part.AsString();
      continue;
    }
    const std::string type = part.At("type").AsString();
    if (type == "refusal") {
      text += part.At("refusal").AsString();
      continue;
    }
    if (type != "text" && type != "input_text" && type != "output_text")
      ThrowField(part.path().substr(2), "expected a part of type text, found '{}'",
                 Printable(type, 40));
    text += part.At("text").AsString();
  }
  return text;
}

std::vector<ToolCall> ParseCalls(const Json& message) {
  std::vector<ToolCall> calls;
  const auto list = message.Find("tool_calls");
  if (!list) return calls;
  for (size_t i = 0; i < list->Size(); ++i) {
    const Json call = list->At(i);
    const Json function = call.At("function");
    const auto arguments = function.Find("arguments");
    std::string text = "{}";
    if (arguments) text = arguments->IsString() ? arguments->AsString() : arguments->Dump();
    calls.push_back(
        {TextField(call, "id", 1024).value_or(""), function.At("name").AsString(), text});
  }
  return calls;
}

std::string RoleOf(const Json& message) {
  const Json role = message.At("role");
  std::string name = role.AsString();
  if (name == "developer") return "system";
  if (name == "function") return "tool";
  if (name == "system" || name == "user" || name == "assistant" || name == "tool") return name;
  ThrowField(role.path().substr(2),
             "expected system, developer, user, assistant or tool, found '{}'",
             Printable(name, 40));
}

std::vector<Message> SystemFirst(std::vector<Message> messages) {
  std::stable_partition(messages.begin(), messages.end(),
                        [](const Message& m) { return m.role == "system"; });
  std::erase_if(messages, [](const Message& m) {
    const bool may_be_empty = m.role == "user" || m.role == "tool" || !m.tool_calls.empty();
    return m.content.empty() && !may_be_empty;
  });
  return messages;
}

std::string CallsAsText(const Message& message) {
  std::string text = message.content;
  for (const ToolCall& call : message.tool_calls)
    text += fmt::format("{}{}({})", text.empty() ? "" : "\n", call.name, call.arguments);
  return text;
}

std::vector<Message> WithoutTools(std::vector<Message> messages) {
  for (Message& message : messages) {
    if (message.role == "tool") message = {"user", "Result: " + message.content};
    if (!message.tool_calls.empty()) message = {"assistant", CallsAsText(message)};
  }
  return messages;
}

/// An assistant's calls and the results that follow them, from messages[*at] on; *at moves behind
/// them. Calls and results without their counterpart are left out.
void AppendCallGroup(const std::vector<Message>& messages, size_t* at, std::vector<Message>* out) {
  Message call = messages[(*at)++];
  const size_t first = *at;
  while (*at < messages.size() && messages[*at].role == "tool") ++*at;
  std::vector<Message> results;
  std::vector<ToolCall> answered;
  const bool is_last = *at == messages.size() && first == *at;
  for (ToolCall& made : call.tool_calls) {
    const std::string id = NineCharacterId(made.id);
    for (size_t i = first; i < *at; ++i) {
      if (NineCharacterId(messages[i].tool_call_id) != id) continue;
      results.push_back(messages[i]);
      results.back().tool_call_id = id;
      made.id = id;
      answered.push_back(made);
      break;
    }
    if (is_last) answered.push_back({id, made.name, made.arguments});
  }
  if (answered.empty()) {
    if (!call.content.empty()) out->push_back({"assistant", call.content});
    return;
  }
  call.tool_calls = std::move(answered);
  call.content.clear();  // the formats have no place for words beside calls
  if (!out->empty() && out->back().role == "assistant") out->push_back({"user", ""});
  out->push_back(std::move(call));
  out->insert(out->end(), results.begin(), results.end());
}

}  // namespace

std::string NineCharacterId(std::string_view id) {
  if (id.size() == kIdLength && std::all_of(id.begin(), id.end(), IsLetterOrDigit))
    return std::string(id);
  uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  const CounterRng rng(hash);
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string nine;
  for (size_t i = 0; i < kIdLength; ++i) nine += kLetters[rng.Bits(i) % kLetters.size()];
  return nine;
}

std::vector<Message> ParseMessages(const Json& body) {
  const Json list = body.At("messages");
  if (!list.IsArray() || list.Size() == 0 || list.Size() > kMaxMessages)
    ThrowField("messages", "expected a list of 1 to {} messages", kMaxMessages);
  std::vector<Message> messages;
  for (size_t i = 0; i < list.Size(); ++i) {
    const Json item = list.At(i);
    Message message;
    message.role = RoleOf(item);
    message.content = ContentText(item);
    if (message.role == "assistant") message.tool_calls = ParseCalls(item);
    if (message.role == "tool") {
      message.tool_call_id = TextField(item, "tool_call_id", 1024).value_or("");
      message.name = TextField(item, "name", 64).value_or("");
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

std::vector<Tool> ParseTools(const Json& body) {
  std::vector<Tool> tools;
  const auto list = body.Find("tools");
  if (!list) return tools;
  if (!list->IsArray() || list->Size() > kMaxTools)
    ThrowField("tools", "expected a list of at most {} tools", kMaxTools);
  for (size_t i = 0; i < list->Size(); ++i) {
    const Json item = list->At(i);
    const std::string type = TextField(item, "type").value_or("function");
    if (type != "function")
      ThrowField(item.path().substr(2), "expected a tool of type function, found '{}'",
                 Printable(type, 40));
    const Json function = item.At("function");
    Tool tool;
    tool.name = function.At("name").AsString();
    tool.description = TextField(function, "description").value_or("");
    if (const auto parameters = function.Find("parameters")) {
      if (!parameters->IsObject())
        ThrowField(parameters->path().substr(2), "expected an object (a JSON Schema)");
      tool.parameters = parameters->Dump();
    }
    const bool is_sound = std::all_of(tool.name.begin(), tool.name.end(), [](char c) {
      return IsLetterOrDigit(c) || c == '_' || c == '-';
    });
    if (!is_sound || tool.name.empty() || tool.name.size() > 64)
      ThrowField(function.At("name").path().substr(2),
                 "expected 1 to 64 of [a-zA-Z0-9_-], found '{}'", Printable(tool.name, 80));
    tools.push_back(std::move(tool));
  }
  return tools;
}

std::vector<Message> RepairConversation(std::vector<Message> messages, ToolSupport support) {
  messages = SystemFirst(std::move(messages));
  if (support == ToolSupport::kNone) return WithoutTools(std::move(messages));
  std::vector<Message> repaired;
  for (size_t i = 0; i < messages.size();) {
    const Message& message = messages[i];
    if (!message.tool_calls.empty()) {
      AppendCallGroup(messages, &i, &repaired);
      continue;
    }
    const bool after_result = !repaired.empty() && repaired.back().role == "tool";
    if (message.role == "tool") {
      repaired.push_back({"user", "Result: " + message.content});
    } else {
      if (message.role == "user" && after_result)
        repaired.push_back({"assistant", std::string(kBetween)});
      repaired.push_back(message);
    }
    ++i;
  }
  return repaired;
}

}  // namespace mixtral::server
