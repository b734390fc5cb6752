// SPDX-License-Identifier: Apache-2.0
// A model's output -> text and tool calls, as it arrives. Mistral's models write
//   [TOOL_CALLS] [{"name": "f", "arguments": {...}, "id": "123456789"}, ...]
// where [TOOL_CALLS] is a control token (OnToolToken) or, in old vocabularies, plain text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mixtral::server {

/// A part of a call. id and name come once, with the call's first part.
struct CallPart {
  int index = 0;
  std::string id, name;
  std::string arguments;  // a piece of JSON text
};

struct ToolOutput {
  std::string content;  // ordinary text
  std::vector<CallPart> calls;
};

class ToolParser {
 public:
  /// The control token has come (or stood at the end of the prompt).
  void OnToolToken();
  ToolOutput Push(std::string_view text);
  /// What was held back. Output that turned out not to be calls comes out as content, as it was.
  ToolOutput Finish();
  int n_calls() const { return n_calls_; }

 private:
  enum class State : uint8_t { kStart, kText, kList, kObject, kKey, kColon, kValue, kDone };

  void Step(char c, ToolOutput* out);
  void StepList(char c);
  void StepObject(char c);
  void StepValue(char c, ToolOutput* out);
  void StreamArguments(std::string_view piece, ToolOutput* out);
  void BeginCall(ToolOutput* out);
  void EndValue();
  void EndCall(ToolOutput* out);
  void Fail() { state_ = State::kDone; }

  State state_ = State::kStart;
  std::string held_;  // kStart: what may become the mark; later: the calls' text, to give back
  std::string key_, value_, name_, id_, arguments_;
  int depth_ = 0, n_calls_ = 0;
  bool in_string_ = false, is_escaped_ = false, has_begun_ = false, has_arguments_ = false;
};

}  // namespace mixtral::server
