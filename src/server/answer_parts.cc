// SPDX-License-Identifier: Apache-2.0
// Field names are those that clients of OpenAI and llama.cpp read.
#include "server/answer_parts.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "server/base64.h"

namespace mixtral::server {
namespace {

constexpr float kLowest = -9999;  // what OpenAI writes for "not among the best"

float Finite(float logprob) { return std::isfinite(logprob) ? logprob : kLowest; }

double PerSecond(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

void WriteChatToken(const Tokenizer& tokenizer, const TokenLogprob& token, JsonWriter* json) {
  const std::string bytes = TokenBytes(tokenizer, token.id);
  json->Key("token").String(bytes).Key("logprob").Float(Finite(token.logprob));
  json->Key("bytes").BeginArray();
  for (const char byte : bytes) json->Int(static_cast<unsigned char>(byte));
  json->EndArray();
}

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

void WriteNested(std::span<const TokenRouting> tokens, size_t k, JsonWriter* json) {
  json->Key("experts").BeginArray();
  for (const TokenRouting& token : tokens) {
    json->BeginArray();
    for (size_t i = 0; i < token.expert_ids.size(); ++i) {
      if (i % k == 0) json->BeginArray();
      json->Int(token.expert_ids[i]);
      if (i % k == k - 1) json->EndArray();
    }
    json->EndArray();
  }
  json->EndArray().Key("weights").BeginArray();
  for (const TokenRouting& token : tokens) {
    json->BeginArray();
    for (size_t i = 0; i < token.weights.size(); ++i) {
      if (i % k == 0) json->BeginArray();
      json->Float(token.weights[i]);
      if (i % k == k - 1) json->EndArray();
    }
    json->EndArray();
  }
  json->EndArray();
}

}  // namespace

void WriteUsage(const ServiceUsage& usage, JsonWriter* json) {
  json->BeginObject();
  json->Key("prompt_tokens").Int(usage.prompt_tokens);
  json->Key("completion_tokens").Int(usage.completion_tokens);
  json->Key("total_tokens").Int(usage.prompt_tokens + usage.completion_tokens);
  json->Key("prompt_tokens_details").BeginObject();
  json->Key("cached_tokens").Int(usage.cached_tokens).EndObject().EndObject();
}

void WriteTimings(const ServiceUsage& usage, JsonWriter* json) {
  const int64_t computed = usage.prompt_tokens - usage.cached_tokens;
  json->BeginObject();
  json->Key("cache_n").Int(usage.cached_tokens).Key("prompt_n").Int(computed);
  json->Key("queue_ms").Real(usage.queue_seconds * 1e3);
  json->Key("prompt_ms").Real(usage.prefill_seconds * 1e3);
  json->Key("first_token_ms").Real(usage.first_token_seconds * 1e3);
  json->Key("predicted_n").Int(usage.completion_tokens);
  json->Key("predicted_ms").Real(usage.decode_seconds * 1e3);
  json->Key("predicted_per_second")
      .Real(PerSecond(static_cast<double>(usage.completion_tokens), usage.decode_seconds));
  json->EndObject();
}

void WriteChatLogprobs(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                       JsonWriter* json) {
  json->BeginObject().Key("content").BeginArray();
  for (const ScoredToken& scored : tokens) {
    json->BeginObject();
    WriteChatToken(tokenizer, scored.token, json);
    json->Key("top_logprobs").BeginArray();
    for (const TokenLogprob& top : scored.top) {
      json->BeginObject();
      WriteChatToken(tokenizer, top, json);
      json->EndObject();
    }
    json->EndArray().EndObject();
  }
  json->EndArray().Key("refusal").Null().EndObject();
}

void WriteCompletionLogprobs(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                             int64_t* offset, JsonWriter* json) {
  json->BeginObject().Key("tokens").BeginArray();
  for (const ScoredToken& scored : tokens) json->String(TokenBytes(tokenizer, scored.token.id));
  json->EndArray().Key("token_logprobs").BeginArray();
  for (const ScoredToken& scored : tokens)  // NaN: nothing came before it
    std::isnan(scored.token.logprob) ? json->Null() : json->Float(Finite(scored.token.logprob));
  json->EndArray().Key("top_logprobs").BeginArray();
  for (const ScoredToken& scored : tokens) {
    if (std::isnan(scored.token.logprob)) {
      json->Null();
      continue;
    }
    // Different tokens may read the same: the first, likelier one is kept.
    std::vector<std::string> seen;
    json->BeginObject();
    for (const TokenLogprob& top : scored.top) {
      const std::string text = TokenBytes(tokenizer, top.id);
      if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
      json->Key(text).Float(Finite(top.logprob));
      seen.push_back(text);
    }
    json->EndObject();
  }
  json->EndArray().Key("text_offset").BeginArray();
  for (const ScoredToken& scored : tokens) {
    json->Int(*offset);
    *offset += CountCharacters(TokenBytes(tokenizer, scored.token.id));
  }
  json->EndArray().EndObject();
}

void WriteRouting(std::span<const TokenRouting> tokens, int n_layers, RoutingEncoding encoding,
                  JsonWriter* json) {
  const size_t per_token = tokens.empty() ? 0 : tokens[0].expert_ids.size();
  const size_t k = n_layers == 0 ? 0 : per_token / static_cast<size_t>(n_layers);
  json->BeginObject();
  json->Key("first_position").Int(tokens.empty() ? 0 : tokens[0].position);
  json->Key("n_tokens").Int(std::ssize(tokens)).Key("n_layers").Int(n_layers);
  json->Key("experts_per_token").Int(static_cast<int64_t>(k));
  if (encoding == RoutingEncoding::kArrays) {
    WriteNested(tokens, std::max<size_t>(k, 1), json);
  } else {
    std::string ids;
    std::vector<float> weights;
    for (const TokenRouting& token : tokens) {
      for (const uint8_t id : token.expert_ids) ids += static_cast<char>(id);
      weights.insert(weights.end(), token.weights.begin(), token.weights.end());
    }
    json->Key("experts").String(Base64(ids)).Key("weights").String(Base64Floats(weights));
  }
  json->EndObject();
}

std::span<const ScoredToken> WithoutEos(const ServiceDelta& delta) {
  std::span<const ScoredToken> tokens = delta.tokens;
  if (delta.finish == FinishReason::kEos && !tokens.empty())
    tokens = tokens.first(tokens.size() - 1);
  return tokens;
}

}  // namespace mixtral::server
