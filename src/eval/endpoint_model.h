// SPDX-License-Identifier: Apache-2.0
// A model behind an OpenAI-compatible server as a LanguageModel: log-likelihoods through
// /completions with echo and logprobs, texts through /completions and /chat/completions.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "eval/language_model.h"

namespace mixtral::eval {

struct EndpointOptions {
  std::string url;         // "http://HOST:PORT/v1"; "/v1" is added to one without a path
  std::string model;       // empty: the first that the server lists
  std::string key;         // empty: none is sent
  int64_t max_tokens = 0;  // context; 0 = what the server says of itself, else 4096
  int concurrency = 8;
  double timeout_seconds = 300;
  double first_wait_seconds = 0.5;  // before a second try
  const std::atomic<bool>* cancel = nullptr;
};

/// Asks the server for its models. Throws Error{kIo} when nobody answers, and the server's refusal.
std::unique_ptr<LanguageModel> OpenEndpointModel(const EndpointOptions& options);

}  // namespace mixtral::eval
