// SPDX-License-Identifier: Apache-2.0
// What an OpenAI-compatible server answered, read with suspicion. Pure: no network.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/language_model.h"

namespace mixtral::eval {

/// Log-probabilities of a prompt that the server echoed.
struct EchoedPrompt {
  std::vector<int64_t> offsets;  // [tokens] where each begins, in characters of the prompt
  std::vector<float> logprobs;   // [tokens] NaN where the server gives none
  std::vector<bool> is_best;     // [tokens] no other token was likelier
};

/// Of /v1/completions with echo. Throws Error{kUnsupported} saying that the server gives no
/// log-probabilities of prompts when it has none, Error{kCorrupt} for an answer that contradicts
/// itself.
EchoedPrompt ParseEcho(const Json& answer, const std::string& prompt);

/// The sum over the tokens that begin at or after the end of `context`. Throws Error{kUnsupported}
/// when there is none.
Likelihood LikelihoodAfter(const EchoedPrompt& echo, const std::string& context);

/// Texts of /v1/completions ("text") or /v1/chat/completions ("message"), by their index. Throws
/// Error{kCorrupt}.
GeneratedAnswers ParseTexts(const Json& answer, int n);

/// The message of a refusal in one line.
std::string RefusalOf(int status, const std::string& body);

int64_t CountCharacters(std::string_view utf8);

}  // namespace mixtral::eval
