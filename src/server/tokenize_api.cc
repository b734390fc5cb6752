// SPDX-License-Identifier: Apache-2.0
// "content" and "tokens" are llama.cpp's names, "prompt", "messages" and "count" vLLM's.
#include "server/tokenize_api.h"

#include <utility>

#include "base/strings.h"
#include "server/chat_request.h"
#include "server/fields.h"
#include "server/json_writer.h"

namespace mixtral::server {
namespace {

void WriteIds(const std::vector<TokenId>& ids, JsonWriter& json) {
  json.BeginArray();
  for (const TokenId id : ids) json.Int(id);
  json.EndArray();
}

/// {"id", "piece"}: the piece as text, or as a list of bytes when it is no whole UTF-8.
void WritePieces(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, JsonWriter& json) {
  json.BeginArray();
  for (const TokenId id : ids) {
    const std::string bytes = TokenBytes(tokenizer, id);
    json.BeginObject().Key("id").Int(id).Key("piece");
    if (IsValidUtf8(bytes)) {
      json.String(bytes);
    } else {
      json.BeginArray();
      for (const char byte : bytes) json.Int(static_cast<unsigned char>(byte));
      json.EndArray();
    }
    json.EndObject();
  }
  json.EndArray();
}

/// Ids as the text that a template would have written, control pieces included.
std::string PromptText(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string text;
  std::vector<TokenId> plain;
  const auto flush = [&] {
    if (!plain.empty()) text += tokenizer.Decode(plain);
    plain.clear();
  };
  for (const TokenId id : ids) {
    if (tokenizer.Type(id) != PieceType::kControl) {
      plain.push_back(id);
      continue;
    }
    flush();
    text += tokenizer.Piece(id);
  }
  flush();
  return text;
}

}  // namespace

void Tokenize(const ExchangePtr& exchange, const HandlerContext& context) {
  const ServedModel& model = *context.model;
  const Json body = ParseBody(exchange->request());
  model.CheckName(TextField(body, "model").value_or(""));
  const bool is_vllm = body.Find("prompt").has_value() || body.Find("messages").has_value();
  std::vector<TokenId> ids;
  if (body.Find("messages")) {
    ids = RenderChat(model, ParseChat(body, model));
  } else {
    const Json text = body.At(is_vllm ? "prompt" : "content");
    const auto special =
        BoolField(body, is_vllm ? "add_special_tokens" : "add_special").value_or(is_vllm);
    ids = model.tokenizer().Encode(text.AsString(), special ? AddBos::kYes : AddBos::kNo);
  }
  std::string reply;
  JsonWriter json(&reply);
  json.BeginObject().Key("tokens");
  if (BoolField(body, "with_pieces").value_or(false))
    WritePieces(model.tokenizer(), ids, json);
  else
    WriteIds(ids, json);
  json.Key("count").Int(std::ssize(ids)).Key("max_model_len").Int(model.context()).EndObject();
  ReplyFrom(exchange, {.status = 200, .body = std::move(reply)});
}

void Detokenize(const ExchangePtr& exchange, const HandlerContext& context) {
  const ServedModel& model = *context.model;
  const Json body = ParseBody(exchange->request());
  const auto ids = TokenIds(body.At("tokens"), model.engine.config().vocab_size);
  const std::string text = model.tokenizer().Decode(ids);
  std::string reply;
  JsonWriter json(&reply);
  json.BeginObject().Key("content").String(text).Key("prompt").String(text).EndObject();
  ReplyFrom(exchange, {.status = 200, .body = std::move(reply)});
}

void ApplyTemplate(const ExchangePtr& exchange, const HandlerContext& context) {
  const ServedModel& model = *context.model;
  const Json body = ParseBody(exchange->request());
  const auto ids = RenderChat(model, ParseChat(body, model));
  std::string reply;
  JsonWriter json(&reply);
  json.BeginObject().Key("prompt").String(PromptText(model.tokenizer(), ids)).Key("tokens");
  WriteIds(ids, json);
  json.EndObject();
  ReplyFrom(exchange, {.status = 200, .body = std::move(reply)});
}

}  // namespace mixtral::server
