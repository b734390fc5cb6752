// SPDX-License-Identifier: Apache-2.0
// One turn's text and calls as content blocks: whole, or opened and closed one after the other in a
// stream.
#include "server/anthropic_api.h"

#include <utility>

#include "server/access_log.h"
#include "server/anthropic_request.h"
#include "server/chat_turn.h"
#include "server/fields.h"
#include "server/json_writer.h"

namespace mixtral::server {
namespace {

std::string_view StopReason(const ChatTurn& turn) {
  const FinishReason reason = turn.finish.value_or(FinishReason::kCancelled);
  if (FinishName(reason) == "length") return "max_tokens";
  if (turn.has_calls()) return "tool_use";
  return reason == FinishReason::kStop && !turn.stop_string.empty() ? "stop_sequence" : "end_turn";
}

class MessagesAnswer : public Answer {
 public:
  MessagesAnswer(ExchangePtr exchange, const HandlerContext& context, const ChatRequest& request,
                 const ForcedCall& forced)
      : exchange_(std::move(exchange)),
        model_(*context.model),
        is_stream_(request.common.stream),
        n_prompt_tokens_(std::ssize(request.common.service.prompt)),
        id_("msg_" + RandomName(24)),
        turn_(request.tool_choice == ToolChoice::kNone ? ToolCalls::kIgnored : ToolCalls::kParsed,
              forced, context.model->tokenizer().FindSpecial("[TOOL_CALLS]"),
              request.one_tool_call) {}

  void OnAccepted() override {
    if (is_stream_) exchange_->BeginEvents();
  }

  void OnEvent(size_t /*request_idx*/, ServiceEvent& event) override {
    buffer_.clear();
    if (is_stream_) Begin();
    for (const ServiceDelta& delta : event.deltas) {
      const TurnNews news = turn_.Take(delta);
      if (is_stream_) WriteNews(news);
    }
    if (is_stream_) exchange_->Write(buffer_);
  }

  void OnDone(const ServiceUsage& usage) override {
    buffer_.clear();
    if (!is_stream_) {
      JsonWriter json(&buffer_);
      WriteMessage(&usage, json);
      return exchange_->Reply({.status = 200, .body = buffer_});
    }
    Begin();
    CloseBlock();
    Event("message_delta", [&](JsonWriter& json) {
      json.Key("delta").BeginObject().Key("stop_reason").String(StopReason(turn_));
      json.Key("stop_sequence").StringOrNull(turn_.stop_string).EndObject();
      json.Key("usage").BeginObject().Key("output_tokens").Int(usage.completion_tokens);
      json.EndObject();
    });
    Event("message_stop", [](JsonWriter&) {});
    exchange_->Write(buffer_);
    exchange_->EndEvents(Exchange::End::kComplete);
  }

  void OnBroken(const HttpError& error) override {
    if (!exchange_->has_begun_events()) return;
    exchange_->Write("event: error\ndata: " + ErrorBody(error, ErrorStyle::kAnthropic) + "\n\n");
    exchange_->EndEvents(Exchange::End::kBroken);
  }

  ErrorStyle error_style() const override { return ErrorStyle::kAnthropic; }

 private:
  template <class Fill>
  void Event(std::string_view type, Fill&& fill) {
    buffer_ += "event: ";
    buffer_ += type;
    buffer_ += "\ndata: ";
    JsonWriter json(&buffer_);
    json.BeginObject().Key("type").String(type);
    fill(json);
    json.EndObject();
    buffer_ += "\n\n";
  }

  void WriteMessage(const ServiceUsage* usage, JsonWriter& json) const {
    json.BeginObject().Key("id").String(id_).Key("type").String("message");
    json.Key("role").String("assistant").Key("model").String(model_.name());
    json.Key("content").BeginArray();
    if (usage != nullptr) WriteBlocks(json);
    json.EndArray().Key("stop_reason");
    if (usage != nullptr)
      json.String(StopReason(turn_));
    else
      json.Null();
    json.Key("stop_sequence").StringOrNull(usage != nullptr ? turn_.stop_string : "");
    json.Key("usage").BeginObject();
    json.Key("input_tokens").Int(n_prompt_tokens_);
    json.Key("cache_read_input_tokens").Int(usage != nullptr ? usage->cached_tokens : 0);
    json.Key("output_tokens").Int(usage != nullptr ? usage->completion_tokens : 0);
    json.EndObject().EndObject();
  }

  void WriteBlocks(JsonWriter& json) const {
    if (!turn_.content().empty() || !turn_.has_calls()) {
      json.BeginObject().Key("type").String("text").Key("text").String(turn_.content());
      json.EndObject();
    }
    for (const CallPart& call : turn_.calls()) {
      json.BeginObject().Key("type").String("tool_use").Key("id").String(call.id);
      json.Key("name").String(call.name).Key("input").Raw(AsObject(call.arguments)).EndObject();
    }
  }

  /// Arguments that the model left unfinished are no JSON: they go out as a string in an object.
  static std::string AsObject(const std::string& arguments) {
    try {
      const Json value = Json::Parse(arguments, "arguments");
      if (value.IsObject()) return value.Dump();
    } catch (const Error&) {
      // written below
    }
    std::string text;
    JsonWriter(&text).BeginObject().Key("unparsed").String(arguments).EndObject();
    return text;
  }

  void Begin() {
    if (std::exchange(has_begun_, true)) return;
    Event("message_start", [&](JsonWriter& json) {
      json.Key("message");
      WriteMessage(nullptr, json);
    });
  }

  enum class Block : uint8_t { kNone, kText, kCall };

  template <class Fill>
  void OpenBlock(Block block, Fill&& fill) {
    CloseBlock();
    block_ = block;
    Event("content_block_start", [&](JsonWriter& json) {
      json.Key("index").Int(n_blocks_).Key("content_block").BeginObject();
      fill(json);
      json.EndObject();
    });
  }

  void CloseBlock() {
    if (block_ == Block::kNone) return;
    Event("content_block_stop", [&](JsonWriter& json) { json.Key("index").Int(n_blocks_); });
    ++n_blocks_;
    block_ = Block::kNone;
  }

  void BlockDelta(std::string_view type, std::string_view key, std::string_view text) {
    Event("content_block_delta", [&](JsonWriter& json) {
      json.Key("index").Int(n_blocks_).Key("delta").BeginObject();
      json.Key("type").String(type).Key(key).String(text).EndObject();
    });
  }

  void WriteNews(const TurnNews& news) {
    if (!news.content.empty()) {
      if (block_ != Block::kText)
        OpenBlock(Block::kText,
                  [](JsonWriter& json) { json.Key("type").String("text").Key("text").String(""); });
      BlockDelta("text_delta", "text", news.content);
    }
    for (const CallPart& part : news.calls) {
      if (!part.id.empty())
        OpenBlock(Block::kCall, [&](JsonWriter& json) {
          json.Key("type").String("tool_use").Key("id").String(part.id);
          json.Key("name").String(part.name).Key("input").BeginObject().EndObject();
        });
      BlockDelta("input_json_delta", "partial_json", part.arguments);
    }
  }

  ExchangePtr exchange_;
  const ServedModel& model_;
  bool is_stream_, has_begun_ = false;
  int64_t n_prompt_tokens_, n_blocks_ = 0;
  std::string id_, buffer_;
  ChatTurn turn_;
  Block block_ = Block::kNone;
};

}  // namespace

void AnthropicMessages(const ExchangePtr& exchange, const HandlerContext& context) {
  ChatRequest request =
      ParseAnthropic(ParseBody(exchange->request()), *context.model, NeedsMaxTokens::kYes);
  const ForcedCall forced = PreparePrompt(*context.model, &request);
  auto answer = std::make_unique<MessagesAnswer>(exchange, context, request, forced);
  std::vector<ServiceRequest> requests;
  requests.push_back(std::move(request.common.service));
  Generate(exchange, context, std::move(requests), std::move(answer));
}

void AnthropicCountTokens(const ExchangePtr& exchange, const HandlerContext& context) {
  const ChatRequest request =
      ParseAnthropic(ParseBody(exchange->request()), *context.model, NeedsMaxTokens::kNo);
  const auto ids = RenderChat(*context.model, request);
  ReplyFrom(exchange, {.status = 200, .body = fmt::format(R"({{"input_tokens":{}}})", ids.size())});
}

}  // namespace mixtral::server
