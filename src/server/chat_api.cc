// SPDX-License-Identifier: Apache-2.0
// Chunks are written by hand into one buffer per answer; nothing is parsed or built in between.
#include "server/chat_api.h"

#include <utility>

#include "server/access_log.h"
#include "server/answer_parts.h"
#include "server/chat_turn.h"
#include "server/fields.h"

namespace mixtral::server {
namespace {

class ChatAnswer : public Answer {
 public:
  ChatAnswer(ExchangePtr exchange, const HandlerContext& context, const ChatRequest& request,
             const ForcedCall& forced)
      : exchange_(std::move(exchange)),
        model_(*context.model),
        common_(request.common),
        wants_logprobs_(request.common.service.top_logprobs >= 0),
        wants_routing_(request.common.service.return_routing) {
    common_.service.prompt.clear();
    const bool has_tools = request.tool_choice != ToolChoice::kNone && !request.tools.empty();
    for (int i = 0; i < common_.service.n; ++i)
      turns_.emplace_back(has_tools ? ToolCalls::kParsed : ToolCalls::kIgnored, forced,
                          model_.tokenizer().FindSpecial("[TOOL_CALLS]"), request.one_tool_call);
    has_begun_.resize(turns_.size());
    JsonWriter json(&head_);
    json.BeginObject().Key("id").String("chatcmpl-" + RandomName(24));
    json.Key("object").String(common_.stream ? "chat.completion.chunk" : "chat.completion");
    json.Key("created").Int(UnixTime()).Key("model").String(model_.name());
    json.Key("system_fingerprint").String(model_.fingerprint);
  }

  void OnAccepted() override {
    if (common_.stream) exchange_->BeginEvents();
  }

  void OnEvent(size_t /*request_idx*/, ServiceEvent& event) override {
    if (wants_routing_ && !event.prompt_routing.empty())
      prompt_routing_ = std::move(event.prompt_routing);
    buffer_.clear();
    for (const ServiceDelta& delta : event.deltas) {
      const auto choice = static_cast<size_t>(delta.choice);
      const TurnNews news = turns_[choice].Take(delta);
      if (common_.stream) WriteDelta(choice, delta, news);
    }
    if (common_.stream) exchange_->Write(buffer_);
  }

  void OnDone(const ServiceUsage& usage) override {
    buffer_.clear();
    if (!common_.stream) {
      WriteWhole(usage);
      return exchange_->Reply({.status = 200, .body = buffer_});
    }
    WriteLast(usage);
    buffer_ += kEventsDone;
    exchange_->Write(buffer_);
    exchange_->EndEvents(Exchange::End::kComplete);
  }

  void OnBroken(const HttpError& error) override {
    if (!exchange_->has_begun_events()) return;
    exchange_->Write(std::string(kEventBegin) + ErrorBody(error, ErrorStyle::kOpenAi) +
                     std::string(kEventEnd));
    exchange_->EndEvents(Exchange::End::kBroken);
  }

 private:
  std::string_view FinishOf(const ChatTurn& turn) const {
    const FinishReason reason = turn.finish.value_or(FinishReason::kCancelled);
    const bool ended = FinishName(reason) == "stop";
    return turn.has_calls() && ended ? "tool_calls" : FinishName(reason);
  }

  /// fill writes the fields of "delta"; logprobs and routing of `tokens` go beside it.
  template <class Fill>
  void Chunk(size_t choice, const ServiceDelta* delta, std::string_view finish, Fill&& fill) {
    buffer_ += kEventBegin;
    buffer_ += head_;
    buffer_ += ",\"choices\":[";
    JsonWriter json(&buffer_);
    json.BeginObject().Key("index").Int(static_cast<int64_t>(choice));
    json.Key("delta").BeginObject();
    fill(json);
    json.EndObject().Key("logprobs");
    const auto tokens = delta == nullptr ? std::span<const ScoredToken>() : WithoutEos(*delta);
    if (wants_logprobs_ && !tokens.empty())
      WriteChatLogprobs(model_.tokenizer(), tokens, &json);
    else
      json.Null();
    json.Key("finish_reason").StringOrNull(finish);
    if (wants_routing_ && delta != nullptr && !delta->routing.empty()) {
      json.Key("routing");
      WriteRouting(delta->routing, model_.engine.config().n_layers, common_.routing_encoding,
                   &json);
    }
    json.EndObject();
    buffer_ += ']';
    if (common_.include_usage) buffer_ += ",\"usage\":null";
    buffer_ += '}';
    buffer_ += kEventEnd;
  }

  static void WriteCalls(const std::vector<CallPart>& calls, JsonWriter& json) {
    json.Key("tool_calls").BeginArray();
    for (const CallPart& part : calls) {
      json.BeginObject().Key("index").Int(part.index);
      if (!part.id.empty()) json.Key("id").String(part.id).Key("type").String("function");
      json.Key("function").BeginObject();
      if (!part.id.empty()) json.Key("name").String(part.name);
      json.Key("arguments").String(part.arguments).EndObject().EndObject();
    }
    json.EndArray();
  }

  void WriteDelta(size_t choice, const ServiceDelta& delta, const TurnNews& news) {
    if (!has_begun_[choice]) {
      has_begun_[choice] = true;
      Chunk(choice, nullptr, "", [](JsonWriter& json) {
        json.Key("role").String("assistant").Key("content").String("");
      });
    }
    const bool scored = wants_logprobs_ && !WithoutEos(delta).empty();
    const bool routed = wants_routing_ && !delta.routing.empty();
    if (!news.content.empty() || scored || routed)
      Chunk(choice, &delta, "",
            [&](JsonWriter& json) { json.Key("content").String(news.content); });
    if (!news.calls.empty())
      Chunk(choice, nullptr, "", [&](JsonWriter& json) { WriteCalls(news.calls, json); });
    if (delta.finish) Chunk(choice, nullptr, FinishOf(turns_[choice]), [](JsonWriter&) {});
  }

  /// The chunk without choices: usage, timings, the prompt's routing.
  void WriteLast(const ServiceUsage& usage) {
    if (!common_.include_usage && !common_.timings && !wants_routing_) return;
    buffer_ += kEventBegin;
    buffer_ += head_;
    buffer_ += ",\"choices\":[]";
    WriteTail(usage);
    buffer_ += '}';
    buffer_ += kEventEnd;
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
    if (wants_routing_) {
      buffer_ += ",\"prompt_routing\":";
      JsonWriter json(&buffer_);
      WriteRouting(prompt_routing_, model_.engine.config().n_layers, common_.routing_encoding,
                   &json);
    }
  }

  void WriteMessage(const ChatTurn& turn, JsonWriter& json) {
    json.Key("message").BeginObject().Key("role").String("assistant").Key("content");
    if (turn.has_calls() && turn.content().empty())
      json.Null();
    else
      json.String(turn.content());
    json.Key("refusal").Null();
    if (turn.has_calls()) {
      json.Key("tool_calls").BeginArray();
      for (const CallPart& call : turn.calls()) {
        json.BeginObject().Key("id").String(call.id).Key("type").String("function");
        json.Key("function").BeginObject().Key("name").String(call.name);
        json.Key("arguments").String(call.arguments).EndObject().EndObject();
      }
      json.EndArray();
    }
    json.EndObject();
  }

  void WriteWhole(const ServiceUsage& usage) {
    buffer_ += head_;
    buffer_ += ",\"choices\":[";
    JsonWriter json(&buffer_);
    for (size_t i = 0; i < turns_.size(); ++i) {
      const ChatTurn& turn = turns_[i];
      json.BeginObject().Key("index").Int(static_cast<int64_t>(i));
      WriteMessage(turn, json);
      json.Key("logprobs");
      if (wants_logprobs_)
        WriteChatLogprobs(model_.tokenizer(), turn.tokens, &json);
      else
        json.Null();
      json.Key("finish_reason").String(FinishOf(turn));
      if (wants_routing_) {
        json.Key("routing");
        WriteRouting(turn.routing, model_.engine.config().n_layers, common_.routing_encoding,
                     &json);
      }
      json.EndObject();
    }
    buffer_ += ']';
    WriteTail(usage);
    buffer_ += '}';
  }

  ExchangePtr exchange_;
  const ServedModel& model_;
  GenerationRequest common_;
  bool wants_logprobs_, wants_routing_;
  std::string head_;  // {"id": ..., without the end
  std::string buffer_;
  std::vector<ChatTurn> turns_;
  std::vector<uint8_t> has_begun_;
  std::vector<TokenRouting> prompt_routing_;
};

}  // namespace

void ChatCompletions(const ExchangePtr& exchange, const HandlerContext& context) {
  ChatRequest request = ParseChat(ParseBody(exchange->request()), *context.model);
  const ForcedCall forced = PreparePrompt(*context.model, &request);
  auto answer = std::make_unique<ChatAnswer>(exchange, context, request, forced);
  std::vector<ServiceRequest> requests;
  requests.push_back(std::move(request.common.service));
  Generate(exchange, context, std::move(requests), std::move(answer));
}

}  // namespace mixtral::server
