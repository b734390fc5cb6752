// SPDX-License-Identifier: Apache-2.0
// The model that is served, once it is loaded: engine, chat format, the service that runs requests,
// and the names by which clients ask for it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/service.h"
#include "server/api_types.h"
#include "server/messages.h"
#include "server/routing_tap.h"
#include "text/chat_template.h"
#include "text/token_bytes.h"

namespace mixtral::server {

struct ModelOptions {
  std::string path;
  EngineOptions engine;
  ServiceOptions service;
  std::vector<std::string> names;  // the first is the one that answers carry; at least one
  /// The chat format to use; nullopt: the chat endpoints answer 400.
  std::function<std::optional<ChatTemplate>(const Engine& engine)> make_chat;
  /// Gets the routing of every request when it ends, on the scheduler thread; empty: nobody does.
  /// The prompts of all requests are computed whole then, whatever the prefix cache holds.
  RoutingSink on_routing = {};
};

class ServedModel {
 public:
  /// Throws what Engine, Service and make_chat throw.
  explicit ServedModel(const ModelOptions& options);

  Engine engine;
  std::optional<ChatTemplate> chat;
  Service service;
  std::vector<std::string> names;
  int64_t created = 0;  // Unix time of loading
  std::string fingerprint;
  RoutingSink on_routing;

  const std::string& name() const { return names.front(); }
  const Tokenizer& tokenizer() const { return engine.tokenizer(); }
  int64_t context() const { return service.options().context; }
  ModelFacts facts() const;
  ToolSupport tool_support() const;
  /// Throws HttpError 404 unless asked is "" or one of the names.
  void CheckName(const std::string& asked) const;
  /// Throws HttpError 400 with both numbers for a prompt that leaves no room for a token.
  void CheckPromptFits(size_t n_tokens, int64_t max_tokens) const;
  /// Throws HttpError 400 when there is no chat format.
  const ChatTemplate& Chat() const;
};

int64_t UnixTime();

}  // namespace mixtral::server
