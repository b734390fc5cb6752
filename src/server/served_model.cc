// SPDX-License-Identifier: Apache-2.0
// Checks of a request against the model, and the model's own facts.
#include "server/served_model.h"

#include <algorithm>
#include <chrono>

#include "base/strings.h"
#include "server/http.h"

namespace mixtral::server {

ServedModel::ServedModel(const ModelOptions& options)
    : engine(options.path, options.engine),
      chat(engine.has_tokenizer() ? options.make_chat(engine) : std::nullopt),
      service(&engine, options.service),
      names(options.names),
      created(UnixTime()),
      fingerprint(fmt::format("mixtral-{:x}", engine.checkpoint().FileBytes())),
      on_routing(options.on_routing) {
  engine.tokenizer();  // a server without one has nothing to say
}

ModelFacts ServedModel::facts() const {
  const ModelConfig& config = engine.config();
  return {.vocab_size = config.vocab_size,
          .n_experts = config.n_experts,
          .experts_per_token = config.experts_per_token,
          .max_choices = std::min(128, service.options().max_running)};
}

ToolSupport ServedModel::tool_support() const {
  const ChatFormat format = chat ? chat->format() : ChatFormat::kNone;
  const bool has_tools = format == ChatFormat::kMistralV2 || format == ChatFormat::kMistralV3 ||
                         format == ChatFormat::kTemplate;
  return has_tools ? ToolSupport::kFormat : ToolSupport::kNone;
}

void ServedModel::CheckName(const std::string& asked) const {
  if (asked.empty() || std::find(names.begin(), names.end(), asked) != names.end()) return;
  throw HttpError(404,
                  fmt::format("the model '{}' does not exist here; this server has '{}'",
                              Printable(asked), name()),
                  "model", "model_not_found");
}

void ServedModel::CheckPromptFits(size_t n_tokens, int64_t max_tokens) const {
  const auto n = static_cast<int64_t>(n_tokens);
  if (n < context() || (n == context() && max_tokens == 0)) return;
  HttpError error(400,
                  fmt::format("request ({} tokens) exceeds the available context size ({} tokens), "
                              "try increasing it",
                              n, context()),
                  "", "context_length_exceeded");
  error.type = "exceed_context_size_error";
  error.n_prompt_tokens = n;
  error.n_ctx = context();
  throw error;
}

const ChatTemplate& ServedModel::Chat() const {
  if (!chat)
    throw HttpError(400, "messages: this model is served without a chat format", "messages",
                    "unsupported");
  return *chat;
}

int64_t UnixTime() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace mixtral::server
