// SPDX-License-Identifier: Apache-2.0
// A scanner that knows where strings and brackets end, not a JSON parser: arguments go out piece by
// piece and are the client's to parse, as with any other server.
#include "server/tool_parser.h"

#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "server/access_log.h"
#include "server/messages.h"

namespace mixtral::server {
namespace {

constexpr std::string_view kMark = "[TOOL_CALLS]";
constexpr size_t kMaxHeld = 1 << 20;

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/// A JSON string's text; text that is none as it is.
std::string Unquoted(const std::string& json) {
  try {
    const Json value = Json::Parse(json, "a tool call");
    return value.IsString() ? value.AsString() : value.Dump();
  } catch (const Error&) {
    return json;
  }
}

}  // namespace

void ToolParser::OnToolToken() {
  if (state_ == State::kStart || state_ == State::kText) state_ = State::kList;
}

ToolOutput ToolParser::Push(std::string_view text) {
  ToolOutput out;
  if (state_ == State::kStart) {
    held_ += text;
    const size_t begin = held_.find_first_not_of(" \n");
    const std::string_view seen = std::string_view(held_).substr(std::min(begin, held_.size()));
    if (kMark.starts_with(seen) && seen.size() < kMark.size()) return out;
    if (!seen.starts_with(kMark)) {
      state_ = State::kText;
      out.content = std::exchange(held_, "");
      return out;
    }
    const std::string rest(seen.substr(kMark.size()));
    held_.clear();
    state_ = State::kList;
    for (const char c : rest) Step(c, &out);
    return out;
  }
  if (state_ == State::kText) {
    out.content = text;
    return out;
  }
  for (const char c : text) Step(c, &out);
  return out;
}

ToolOutput ToolParser::Finish() {
  ToolOutput out;
  if (n_calls_ == 0 || state_ == State::kStart) out.content = std::exchange(held_, "");
  return out;
}

void ToolParser::Step(char c, ToolOutput* out) {
  if (n_calls_ == 0 && held_.size() < kMaxHeld) held_ += c;
  switch (state_) {
    case State::kList:
      return StepList(c);
    case State::kObject:
    case State::kKey:
    case State::kColon:
      if (state_ == State::kObject && c == '}') return EndCall(out);
      return StepObject(c);
    case State::kValue:
      return StepValue(c, out);
    default:
      return;
  }
}

void ToolParser::StepList(char c) {
  if (c == '{') {
    key_.clear(), value_.clear(), name_.clear(), id_.clear(), arguments_.clear();
    has_begun_ = has_arguments_ = false;
    state_ = State::kObject;
  } else if (c == ']') {
    state_ = State::kDone;
  } else if (!IsSpace(c) && c != '[' && c != ',') {
    Fail();
  }
}

void ToolParser::StepObject(char c) {
  if (state_ == State::kKey) {
    if (c == '"')
      state_ = State::kColon;
    else
      key_ += c;
  } else if (state_ == State::kColon) {
    if (c == ':') {
      state_ = State::kValue;
      value_.clear();
      depth_ = 0;
      in_string_ = is_escaped_ = false;
    } else if (!IsSpace(c)) {
      Fail();
    }
  } else if (c == '"') {
    state_ = State::kKey;
    key_.clear();
  } else if (!IsSpace(c) && c != ',') {
    Fail();
  }
}

void ToolParser::StepValue(char c, ToolOutput* out) {
  if (value_.empty() && IsSpace(c)) return;
  const bool ends_here = !in_string_ && depth_ == 0 && (c == ',' || c == '}');
  if (ends_here) {
    EndValue();
    state_ = State::kObject;
    if (c == '}') EndCall(out);
    return;
  }
  value_ += c;
  if (in_string_) {
    if (is_escaped_)
      is_escaped_ = false;
    else if (c == '\\')
      is_escaped_ = true;
    else if (c == '"')
      in_string_ = false;
  } else if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    --depth_;
  }
  if (key_ == "arguments" && value_[0] == '{' && has_begun_)
    StreamArguments(std::string_view(&c, 1), out);
  else if (key_ == "arguments" && value_ == "{" && !name_.empty()) {
    BeginCall(out);
    StreamArguments(value_, out);
  }
}

void ToolParser::BeginCall(ToolOutput* out) {
  has_begun_ = true;
  const std::string id = id_.empty() ? RandomName(9) : NineCharacterId(id_);
  out->calls.push_back({n_calls_++, id, name_, ""});
}

void ToolParser::StreamArguments(std::string_view piece, ToolOutput* out) {
  has_arguments_ = true;
  if (out->calls.empty() || out->calls.back().index != n_calls_ - 1)
    out->calls.push_back({n_calls_ - 1, "", "", ""});
  out->calls.back().arguments += piece;
}

void ToolParser::EndValue() {
  if (key_ == "name") name_ = Unquoted(value_);
  if (key_ == "id") id_ = Unquoted(value_);
  if (key_ == "arguments" && !has_begun_) arguments_ = Unquoted(value_);
}

/// Calls whose arguments could not be streamed: they came before the name, as a string, or not at
/// all.
void ToolParser::EndCall(ToolOutput* out) {
  state_ = State::kList;
  if (name_.empty()) return Fail();
  if (!has_begun_) BeginCall(out);
  if (!has_arguments_) StreamArguments(arguments_.empty() ? "{}" : arguments_, out);
}

}  // namespace mixtral::server
