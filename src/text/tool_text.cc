// SPDX-License-Identifier: Apache-2.0
// Keys and their order are mistral-common's; the models saw them so in training.
#include "text/tool_text.h"

#include "base/error.h"
#include "base/strings.h"
#include "text/jinja/json_text.h"

namespace mixtral {
namespace {

using jinja::Dict;
using jinja::List;
using jinja::Value;

std::string ToJson(const Value& value) {
  jinja::Budget budget;
  return jinja::DumpJson(value, -1, &budget);
}

Value OneItem(Value item) {
  List items;
  items.push_back(std::move(item));
  return Value::MakeList(std::move(items));
}

}  // namespace

Value ToolValue(const Tool& tool, size_t index) {
  const std::optional<Value> parameters = jinja::ParseJson(tool.parameters);
  if (!parameters || !parameters->Is(jinja::Type::kDict)) {
    Throw(ErrorCode::kInvalidArgument, "tools[{}].parameters: expected a JSON object, found '{}'",
          index, Printable(tool.parameters, 40));
  }
  Dict function = {{"name", Value::String(tool.name)},
                   {"description", Value::String(tool.description)},
                   {"parameters", *parameters}};
  Dict all = {{"type", Value::String("function")},
              {"function", Value::MakeDict(std::move(function))}};
  return Value::MakeDict(std::move(all));
}

Value JsonOrText(const std::string& text) {
  if (text.empty()) return Value::MakeDict({});
  const std::optional<Value> value = jinja::ParseJson(text);
  return value ? *value : Value::String(text);
}

std::string AvailableToolsText(std::span<const Tool> tools) {
  List list;
  for (size_t i = 0; i < tools.size(); ++i) list.push_back(ToolValue(tools[i], i));
  return ToJson(Value::MakeList(std::move(list)));
}

std::string ToolCallsText(const Turn& turn, ChatFormat format) {
  List calls;
  for (const ToolCall& call : turn.tool_calls) {
    Dict entry = {{"name", Value::String(call.name)}, {"arguments", JsonOrText(call.arguments)}};
    if (format == ChatFormat::kMistralV3) entry.emplace_back("id", Value::String(call.id));
    calls.push_back(Value::MakeDict(std::move(entry)));
  }
  return ToJson(Value::MakeList(std::move(calls)));
}

std::string ToolResultText(const Turn& turn, ChatFormat format) {
  if (format == ChatFormat::kMistralV3) {
    return ToJson(Value::MakeDict(
        {{"content", JsonOrText(turn.content)}, {"call_id", Value::String(turn.tool_call_id)}}));
  }
  const Value name = turn.tool_name.empty() ? Value::None() : Value::String(turn.tool_name);
  return ToJson(OneItem(Value::MakeDict({{"name", name}, {"content", JsonOrText(turn.content)}})));
}

}  // namespace mixtral
