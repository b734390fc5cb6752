// SPDX-License-Identifier: Apache-2.0
// A Mixtral is no embedding model; its pooled states are what other servers of language models
// give, too. Vectors have length 1 unless "normalize" is false.
#include "server/embeddings_api.h"

#include <cmath>
#include <utility>

#include "server/base64.h"
#include "server/completions_api.h"
#include "server/fields.h"
#include "server/json_writer.h"

namespace mixtral::server {
namespace {

enum class Encoding : uint8_t { kFloat, kBase64 };
enum class Normalize : uint8_t { kNo, kYes };

class EmbeddingAnswer : public Answer {
 public:
  EmbeddingAnswer(ExchangePtr exchange, const HandlerContext& context, size_t n_inputs,
                  Encoding encoding, Normalize normalize)
      : exchange_(std::move(exchange)),
        model_(*context.model),
        vectors_(n_inputs),
        encoding_(encoding),
        normalize_(normalize) {}

  void OnEvent(size_t request_idx, ServiceEvent& event) override {
    if (!event.hidden.empty()) vectors_[request_idx] = std::move(event.hidden);
  }

  void OnDone(const ServiceUsage& usage) override {
    std::string text;
    JsonWriter json(&text);
    json.BeginObject().Key("object").String("list").Key("data").BeginArray();
    for (size_t i = 0; i < vectors_.size(); ++i) {
      if (normalize_ == Normalize::kYes) MakeUnit(&vectors_[i]);
      json.BeginObject().Key("object").String("embedding");
      json.Key("index").Int(static_cast<int64_t>(i)).Key("embedding");
      WriteVector(vectors_[i], json);
      json.EndObject();
    }
    json.EndArray().Key("model").String(model_.name()).Key("usage").BeginObject();
    json.Key("prompt_tokens").Int(usage.prompt_tokens);
    json.Key("total_tokens").Int(usage.prompt_tokens).EndObject().EndObject();
    exchange_->Reply({.status = 200, .body = std::move(text)});
  }

  void OnBroken(const HttpError& /*error*/) override {}  // nothing was begun

 private:
  static void MakeUnit(std::vector<float>* vector) {
    double squares = 0;
    for (const float x : *vector) squares += static_cast<double>(x) * x;
    if (squares <= 0) return;
    const double scale = 1 / std::sqrt(squares);
    for (float& x : *vector) x = static_cast<float>(x * scale);
  }

  void WriteVector(const std::vector<float>& vector, JsonWriter& json) const {
    if (encoding_ == Encoding::kBase64) {
      json.String(Base64Floats(vector));
      return;
    }
    json.BeginArray();
    for (const float x : vector) json.Float(x);
    json.EndArray();
  }

  ExchangePtr exchange_;
  const ServedModel& model_;
  std::vector<std::vector<float>> vectors_;
  Encoding encoding_;
  Normalize normalize_;
};

}  // namespace

void Embeddings(const ExchangePtr& exchange, const HandlerContext& context) {
  const ServedModel& model = *context.model;
  const Json body = ParseBody(exchange->request());
  model.CheckName(TextField(body, "model").value_or(""));
  const std::string encoding = ChoiceField(body, "encoding_format", {"float", "base64"}, "float");
  const std::string pooling = ChoiceField(body, "pooling", {"mean", "last"}, "mean");
  const bool normalize = BoolField(body, "normalize").value_or(true);
  const int dim = model.engine.config().dim;
  if (const auto dimensions = IntField(body, "dimensions", 1, 1 << 20))
    if (*dimensions != dim)
      throw HttpError(400, fmt::format("dimensions: expected {}, found {}", dim, *dimensions),
                      "dimensions", "unsupported");
  std::vector<ServiceRequest> requests;
  for (auto& prompt : PromptsOf(body.At("input"), model, "input")) {
    ServiceRequest request;
    request.max_tokens = 0;
    request.pooling = pooling == "last" ? HiddenPooling::kLast : HiddenPooling::kMean;
    model.CheckPromptFits(prompt.size(), 0);
    request.prompt = std::move(prompt);
    requests.push_back(std::move(request));
  }
  auto answer =
      std::make_unique<EmbeddingAnswer>(exchange, context, requests.size(),
                                        encoding == "base64" ? Encoding::kBase64 : Encoding::kFloat,
                                        normalize ? Normalize::kYes : Normalize::kNo);
  Generate(exchange, context, std::move(requests), std::move(answer));
}

}  // namespace mixtral::server
