// SPDX-License-Identifier: Apache-2.0
// Fields of the chat endpoint and the way from messages to token ids.
#include "server/chat_request.h"

#include <algorithm>

#include "base/strings.h"
#include "server/fields.h"
#include "server/json_writer.h"

namespace mixtral::server {
namespace {

constexpr int64_t kMaxTokens = 1 << 30;
constexpr std::string_view kToolMark = "[TOOL_CALLS]";

bool HasTool(const std::vector<Tool>& tools, const std::string& name) {
  return std::any_of(tools.begin(), tools.end(), [&](const Tool& t) { return t.name == name; });
}

/// {"mode": "auto" or "required", "tools": [{"type": "function", "function": {"name"}}]}: the
/// request's tools without all others.
void ReadAllowedTools(const Json& allowed, ChatRequest* request) {
  if (ChoiceField(allowed, "mode", {"auto", "required"}, "auto") == "required")
    request->tool_choice = ToolChoice::kRequired;
  const Json list = allowed.At("tools");
  std::vector<std::string> names;
  for (size_t i = 0; i < list.Size(); ++i) {
    names.push_back(list.At(i).At("function").At("name").AsString());
    if (!HasTool(request->tools, names.back()))
      ThrowField("tool_choice", "expected the request's tools, found '{}'",
                 Printable(names.back(), 80));
  }
  std::erase_if(request->tools, [&](const Tool& tool) {
    return std::find(names.begin(), names.end(), tool.name) == names.end();
  });
  if (request->tools.empty())
    ThrowField("tool_choice.allowed_tools.tools", "expected one tool or more, found none");
}

void ReadToolChoice(const Json& body, ChatRequest* request) {
  const auto choice = body.Find("tool_choice");
  if (request->tools.empty()) request->tool_choice = ToolChoice::kNone;
  if (!choice) return;
  if (choice->IsObject()) {
    const std::string type = TextField(*choice, "type").value_or("");
    if (type == "allowed_tools") return ReadAllowedTools(choice->At("allowed_tools"), request);
    if (type != "function")
      ThrowField("tool_choice.type", "expected function or allowed_tools, found '{}'",
                 Printable(type, 40));
    request->tool_choice = ToolChoice::kNamed;
    request->tool_name = choice->At("function").At("name").AsString();
  } else {
    const std::string name = ChoiceField(body, "tool_choice", {"none", "auto", "required"}, "auto");
    if (name == "none") request->tool_choice = ToolChoice::kNone;
    if (name == "required") request->tool_choice = ToolChoice::kRequired;
  }
  const bool demands =
      request->tool_choice == ToolChoice::kRequired || request->tool_choice == ToolChoice::kNamed;
  if (!demands) return;
  const bool is_there = request->tool_choice == ToolChoice::kRequired
                            ? !request->tools.empty()
                            : HasTool(request->tools, request->tool_name);
  if (!is_there)
    ThrowField("tool_choice", "expected one of the request's tools, found '{}'",
               Printable(request->tool_name, 80));
}

void ReadLogprobs(const Json& body, ServiceRequest* request) {
  const bool wanted = BoolField(body, "logprobs").value_or(false);
  const auto top = IntField(body, "top_logprobs", 0, 20);
  if (top && !wanted && *top > 0)
    ThrowField("top_logprobs", "expected only together with \"logprobs\": true");
  if (wanted) request->top_logprobs = static_cast<int>(top.value_or(0));
}

void ReadContinuation(const Json& body, ChatRequest* request) {
  request->add_generation_prompt = BoolField(body, "add_generation_prompt").value_or(true);
  request->continue_final_message = BoolField(body, "continue_final_message").value_or(false);
  const Json messages = body.At("messages");
  const Json last = messages.At(messages.Size() - 1);
  if (BoolField(last, "prefix").value_or(false)) request->continue_final_message = true;
}

RenderOptions OptionsOf(const ChatRequest& request) {
  RenderOptions options;
  options.continue_final_message = request.continue_final_message;
  options.add_generation_prompt = request.add_generation_prompt;
  if (request.tool_choice != ToolChoice::kNone) options.tools = request.tools;
  return options;
}

}  // namespace

ChatRequest ParseChat(const Json& body, const ServedModel& model) {
  ChatRequest request;
  request.common = ParseGeneration(body, model.facts());
  model.CheckName(request.common.model);
  request.messages = ParseMessages(body);
  request.tools = ParseTools(body);
  ReadToolChoice(body, &request);
  request.one_tool_call = !BoolField(body, "parallel_tool_calls").value_or(true);
  ReadLogprobs(body, &request.common.service);
  ReadContinuation(body, &request);
  const auto old_limit = IntField(body, "max_tokens", 0, kMaxTokens);
  const auto limit = IntField(body, "max_completion_tokens", 0, kMaxTokens);
  request.common.service.max_tokens = limit.value_or(old_limit.value_or(-1));
  RefuseField(body, "functions", "not supported: use tools");
  RefuseField(body, "function_call", "not supported: use tool_choice");
  RefuseField(body, "chat_template", "not supported: the server's chat format is used");
  RefuseField(body, "audio", "not supported: text only");
  return request;
}

std::vector<TokenId> RenderChat(const ServedModel& model, const ChatRequest& request) {
  const ChatTemplate& chat = model.Chat();
  if (!OptionsOf(request).tools.empty() && model.tool_support() == ToolSupport::kNone)
    throw HttpError(
        400,
        fmt::format("tools: the model's chat format ({}) has none", ChatFormatName(chat.format())),
        "tools", "unsupported");
  const std::vector<Message> messages = RepairConversation(request.messages, model.tool_support());
  return chat.Render(messages, OptionsOf(request));
}

ForcedCall PreparePrompt(const ServedModel& model, ChatRequest* request) {
  ServiceRequest& service = request->common.service;
  service.prompt = RenderChat(model, *request);
  service.stream_start =
      request->continue_final_message ? StreamStart::kContinuation : StreamStart::kNewText;
  for (const TokenId id : model.Chat().StopTokens()) service.stop_tokens.push_back(id);
  for (const std::string& text : model.Chat().StopStrings()) service.stop.push_back(text);
  ForcedCall forced;
  const bool demands =
      request->tool_choice == ToolChoice::kRequired || request->tool_choice == ToolChoice::kNamed;
  if (demands) {
    forced.is_forced = true;
    const auto token = model.tokenizer().FindSpecial(kToolMark);
    if (token) service.prompt.push_back(*token);
    forced.text = R"([{"name": ")";
    if (request->tool_choice == ToolChoice::kNamed)
      forced.text += request->tool_name + R"(", "arguments": {)";
    // Vocabularies without the control piece write it as text.
    const std::string text = (token ? "" : std::string(kToolMark) + " ") + forced.text;
    for (const TokenId id : model.tokenizer().Encode(text, AddBos::kNo))
      service.prompt.push_back(id);
    service.stream_start = StreamStart::kContinuation;
  }
  model.CheckPromptFits(service.prompt.size(), service.max_tokens);
  return forced;
}

}  // namespace mixtral::server
