// SPDX-License-Identifier: Apache-2.0
// What several answers have in common: usage, timings, log-probabilities, routing, and the frame of
// a server-sent event.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "server/api_types.h"
#include "server/json_writer.h"
#include "server/served_model.h"

namespace mixtral::server {

void WriteUsage(const ServiceUsage& usage, JsonWriter* json);
void WriteTimings(const ServiceUsage& usage, JsonWriter* json);

/// {"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}
void WriteChatLogprobs(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                       JsonWriter* json);
/// {tokens, token_logprobs, top_logprobs, text_offset}; the first token of an echoed prompt has
/// null. *offset: characters before the first token; moved on.
void WriteCompletionLogprobs(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                             int64_t* offset, JsonWriter* json);

/// {"first_position", "n_tokens", "n_layers", "experts_per_token", "experts", "weights"}: base64 of
/// uint8 and little-endian float32, each [n_tokens, L, K], or nested arrays.
void WriteRouting(std::span<const TokenRouting> tokens, int n_layers, RoutingEncoding encoding,
                  JsonWriter* json);

constexpr std::string_view kEventBegin = "data: ", kEventEnd = "\n\n";
constexpr std::string_view kEventsDone = "data: [DONE]\n\n";

/// Without a final EOS, which no client wants to see among the tokens of an answer.
std::span<const ScoredToken> WithoutEos(const ServiceDelta& delta);

}  // namespace mixtral::server
