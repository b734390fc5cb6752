// SPDX-License-Identifier: Apache-2.0
// Choices are numbered over all prompts: prompt index x n + choice.
#include "server/completions_api.h"

#include <cmath>
#include <limits>
#include <utility>

#include "server/access_log.h"
#include "server/answer_parts.h"
#include "server/fields.h"

namespace mixtral::server {
namespace {

constexpr int64_t kMaxTokens = 1 << 30, kDefaultTokens = 16;
constexpr size_t kMaxPrompts = 128;

struct CompletionRequest {
  GenerationRequest common;
  std::vector<std::vector<TokenId>> prompts;
  bool echo = false;
};

CompletionRequest ParseCompletion(const Json& body, const ServedModel& model) {
  CompletionRequest request;
  request.common = ParseGeneration(body, model.facts());
  model.CheckName(request.common.model);
  request.echo = BoolField(body, "echo").value_or(false);
  ServiceRequest& service = request.common.service;
  service.max_tokens =
      IntField(body, "max_tokens", 0, kMaxTokens)
          .value_or(IntField(body, "n_predict", 0, kMaxTokens).value_or(kDefaultTokens));
  service.top_logprobs = static_cast<int>(IntField(body, "logprobs", 0, 20).value_or(-1));
  service.prompt_logprobs = request.echo && service.top_logprobs >= 0;
  if (service.max_tokens == 0 && !request.echo)
    ThrowField("max_tokens", "expected at least 1 unless \"echo\" is true, found 0");
  const auto best_of = IntField(body, "best_of", 1, 128);
  if (best_of && *best_of != service.n)
    throw HttpError(400, fmt::format("best_of: expected n ({}), found {}", service.n, *best_of),
                    "best_of", "unsupported");
  if (!TextField(body, "suffix").value_or("").empty())
    throw HttpError(400, "suffix: not supported", "suffix", "unsupported");
  request.prompts = PromptsOf(body.At("prompt"), model, "prompt");
  for (const auto& prompt : request.prompts)
    model.CheckPromptFits(prompt.size(), service.max_tokens);
  return request;
}

class CompletionAnswer : public Answer {
 public:
  CompletionAnswer(ExchangePtr exchange, const HandlerContext& context,
                   const CompletionRequest& request)
      : exchange_(std::move(exchange)),
        model_(*context.model),
        common_(request.common),
        n_(static_cast<size_t>(request.common.service.n)),
        wants_logprobs_(request.common.service.top_logprobs >= 0),
        echo_(request.echo) {
    choices_.resize(request.prompts.size() * n_);
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (echo_) choices_[i].prompt = request.prompts[i / n_];
      if (echo_) choices_[i].echo = PromptText(request.prompts[i / n_]);
    }
    prompt_routing_.resize(request.prompts.size());
    JsonWriter json(&head_);
    json.BeginObject().Key("id").String("cmpl-" + RandomName(24));
    json.Key("object").String("text_completion").Key("created").Int(UnixTime());
    json.Key("model").String(model_.name()).Key("system_fingerprint").String(model_.fingerprint);
  }

  void OnAccepted() override {
    if (common_.stream) exchange_->BeginEvents();
  }

  void OnEvent(size_t request_idx, ServiceEvent& event) override {
    buffer_.clear();
    if (!event.prompt_routing.empty())
      prompt_routing_[request_idx] = std::move(event.prompt_routing);
    if (!event.prompt_scores.empty()) AddPromptScores(request_idx, event.prompt_scores);
    for (const ServiceDelta& delta : event.deltas) {
      const size_t at = request_idx * n_ + static_cast<size_t>(delta.choice);
      Take(delta, &choices_[at]);
      if (common_.stream) WriteChunk(at, delta.finish.has_value());
    }
    if (common_.stream) exchange_->Write(buffer_);
  }

  void OnDone(const ServiceUsage& usage) override {
    buffer_.clear();
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (choices_[i].finish) continue;
      choices_[i].finish = FinishReason::kLength;  // max_tokens 0: only the prompt
      if (common_.stream) WriteChunk(i, true);
    }
    if (common_.stream) {
      if (common_.include_usage || common_.timings) {
        buffer_ += kEventBegin;
        buffer_ += head_ + ",\"choices\":[]";
        WriteTail(usage);
        buffer_ += kEventEnd;
      }
      buffer_ += kEventsDone;
      exchange_->Write(buffer_);
      return exchange_->EndEvents(Exchange::End::kComplete);
    }
    buffer_ += head_ + ",\"choices\":[";
    JsonWriter json(&buffer_);
    for (size_t i = 0; i < choices_.size(); ++i) WriteChoice(i, json);
    buffer_ += ']';
    WriteTail(usage);
    exchange_->Reply({.status = 200, .body = buffer_});
  }

  void OnBroken(const HttpError& error) override {
    if (!exchange_->has_begun_events()) return;
    exchange_->Write(std::string(kEventBegin) + ErrorBody(error, ErrorStyle::kOpenAi) +
                     std::string(kEventEnd));
    exchange_->EndEvents(Exchange::End::kBroken);
  }

 private:
  struct Choice {
    std::vector<TokenId> prompt;  // when echoed
    std::string echo, text;       // not yet written, when streamed
    std::vector<ScoredToken> tokens;
    std::vector<TokenRouting> routing;
    std::optional<FinishReason> finish;
    int64_t offset = 0;  // characters written before
    bool is_scored = false;
  };

  std::string PromptText(const std::vector<TokenId>& ids) const {
    return model_.tokenizer().Decode(ids);
  }

  /// The first token has no score: nothing came before it.
  void AddPromptScores(size_t request_idx, const std::vector<ScoredToken>& scores) {
    for (size_t i = request_idx * n_; i < (request_idx + 1) * n_; ++i) {
      Choice& choice = choices_[i];
      if (choice.is_scored || choice.prompt.empty()) continue;
      choice.is_scored = true;
      ScoredToken first;
      first.token = {choice.prompt[0], std::numeric_limits<float>::quiet_NaN()};
      choice.tokens.insert(choice.tokens.begin(), scores.begin(), scores.end());
      choice.tokens.insert(choice.tokens.begin(), first);
    }
  }

  static void Take(const ServiceDelta& delta, Choice* choice) {
    choice->text += delta.text;
    const auto scored = WithoutEos(delta);
    choice->tokens.insert(choice->tokens.end(), scored.begin(), scored.end());
    choice->routing.insert(choice->routing.end(), delta.routing.begin(), delta.routing.end());
    if (delta.finish) choice->finish = delta.finish;
  }

  void WriteChoice(size_t at, JsonWriter& json) {
    Choice& choice = choices_[at];
    json.BeginObject().Key("index").Int(static_cast<int64_t>(at));
    json.Key("text").String(choice.echo + choice.text).Key("logprobs");
    if (wants_logprobs_)
      WriteCompletionLogprobs(model_.tokenizer(), choice.tokens, &choice.offset, &json);
    else
      json.Null();
    json.Key("finish_reason");
    if (choice.finish)
      json.String(FinishName(*choice.finish));
    else
      json.Null();
    if (common_.service.return_routing) {
      json.Key("routing");
      WriteRouting(choice.routing, model_.engine.config().n_layers, common_.routing_encoding,
                   &json);
      json.Key("prompt_routing");
      WriteRouting(prompt_routing_[at / n_], model_.engine.config().n_layers,
                   common_.routing_encoding, &json);
    }
    json.EndObject();
  }

  void WriteChunk(size_t at, bool is_last) {
    Choice& choice = choices_[at];
    const bool has_news = !choice.text.empty() || !choice.echo.empty() || is_last ||
                          (wants_logprobs_ && !choice.tokens.empty()) ||
                          (common_.service.return_routing && !choice.routing.empty());
    if (!has_news) return;
    buffer_ += kEventBegin;
    buffer_ += head_ + ",\"choices\":[";
    JsonWriter json(&buffer_);
    WriteChoice(at, json);
    buffer_ += common_.include_usage ? "],\"usage\":null}" : "]}";
    buffer_ += kEventEnd;
    choice.text.clear();
    choice.echo.clear();
    choice.tokens.clear();
    choice.routing.clear();
  }

  void WriteTail(const ServiceUsage& usage) {
    buffer_ += ",\"usage\":";
    JsonWriter usage_json(&buffer_);
    WriteUsage(usage, &usage_json);
    if (common_.timings) {
      buffer_ += ",\"timings\":";
      JsonWriter json(&buffer_);
      WriteTimings(usage, &json);
    }
    buffer_ += '}';
  }

  ExchangePtr exchange_;
  const ServedModel& model_;
  GenerationRequest common_;
  size_t n_;
  bool wants_logprobs_, echo_;
  std::string head_, buffer_;
  std::vector<Choice> choices_;
  std::vector<std::vector<TokenRouting>> prompt_routing_;
};

}  // namespace

std::vector<std::vector<TokenId>> PromptsOf(const Json& value, const ServedModel& model,
                                            std::string_view what) {
  const auto encode = [&](const std::string& text) {
    return model.tokenizer().Encode(text, AddBos::kYes);
  };
  std::vector<std::vector<TokenId>> prompts;
  if (value.IsString()) {
    prompts.push_back(encode(value.AsString()));
  } else if (!value.IsArray() || value.Size() == 0) {
    ThrowField(what, "expected a string, strings, token ids or lists of token ids");
  } else if (value.At(0).IsNumber()) {
    prompts.push_back(TokenIds(value, model.engine.config().vocab_size));
  } else {
    if (value.Size() > kMaxPrompts)
      ThrowField(what, "expected at most {} prompts, found {}", kMaxPrompts, value.Size());
    for (size_t i = 0; i < value.Size(); ++i) {
      const Json item = value.At(i);
      prompts.push_back(item.IsArray() ? TokenIds(item, model.engine.config().vocab_size)
                                       : encode(item.AsString()));
    }
  }
  for (const auto& prompt : prompts)
    if (prompt.empty()) ThrowField(what, "expected at least one token, found none");
  return prompts;
}

void Completions(const ExchangePtr& exchange, const HandlerContext& context) {
  CompletionRequest request = ParseCompletion(ParseBody(exchange->request()), *context.model);
  auto answer = std::make_unique<CompletionAnswer>(exchange, context, request);
  std::vector<ServiceRequest> requests;
  for (auto& prompt : request.prompts) {
    requests.push_back(request.common.service);
    requests.back().prompt = std::move(prompt);
  }
  Generate(exchange, context, std::move(requests), std::move(answer));
}

}  // namespace mixtral::server
