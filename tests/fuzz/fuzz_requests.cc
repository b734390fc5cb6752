// SPDX-License-Identifier: Apache-2.0
// Request bodies of the server, and the tool calls in a model's output. The first byte says which;
// the rest is the body, or text that comes in pieces.
#include <algorithm>

#include "fuzz/fuzz_support.h"
#include "server/api_types.h"
#include "server/fields.h"
#include "server/messages.h"
#include "server/tool_parser.h"

namespace {

using mixtral::Json;
namespace server = mixtral::server;

constexpr server::ModelFacts kFacts = {
    .vocab_size = 100, .n_experts = 8, .experts_per_token = 2, .max_choices = 8};

/// Whatever the order of its messages, a repaired conversation has what the formats rely on.
void CheckConversation(const Json& body) {
  const auto messages =
      server::RepairConversation(server::ParseMessages(body), server::ToolSupport::kFormat);
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool after_tool = i > 0 && messages[i - 1].role == "tool";
    if (after_tool && messages[i].role == "user") std::abort();
    if (messages[i].role == "tool" && i == 0) std::abort();
    for (const mixtral::ToolCall& call : messages[i].tool_calls)
      if (call.id.size() != 9) std::abort();
  }
}

/// In one piece and byte by byte: the same text and the same calls.
void CheckToolParser(std::string_view text) {
  server::ToolParser whole, bytes;
  std::string whole_text, byte_text, whole_arguments, byte_arguments;
  const auto take = [](const server::ToolOutput& output, std::string* content,
                       std::string* arguments) {
    *content += output.content;
    for (const server::CallPart& part : output.calls) *arguments += part.name + part.arguments;
  };
  take(whole.Push(text), &whole_text, &whole_arguments);
  take(whole.Finish(), &whole_text, &whole_arguments);
  for (const char c : text) take(bytes.Push(std::string_view(&c, 1)), &byte_text, &byte_arguments);
  take(bytes.Finish(), &byte_text, &byte_arguments);
  if (whole.n_calls() != bytes.n_calls() || whole_text != byte_text ||
      whole_arguments != byte_arguments)
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(mixtral::fuzz::Text(data + 1, size - 1));
  if (data[0] == 't') {
    CheckToolParser(text);
    return 0;
  }
  server::HttpRequest request;
  request.body = text;
  mixtral::fuzz::Accepts([&] { server::ParseGeneration(server::ParseBody(request), kFacts); });
  mixtral::fuzz::Accepts([&] { server::ParseTools(server::ParseBody(request)); });
  mixtral::fuzz::Accepts([&] { CheckConversation(server::ParseBody(request)); });
  return 0;
}
