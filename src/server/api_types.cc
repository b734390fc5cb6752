// SPDX-License-Identifier: Apache-2.0
// OpenAI's names and defaults, and the sampling fields that users of local servers send.
#include "server/api_types.h"

#include <algorithm>
#include <charconv>
#include <random>

#include "base/strings.h"
#include "server/fields.h"

namespace mixtral::server {
namespace {

constexpr size_t kMaxStops = 16, kMaxStopBytes = 1024, kMaxBiases = 1024, kMaxStopTokens = 256;
constexpr int64_t kMaxTokens = 1 << 30;
constexpr std::string_view kNotYet = "not supported yet";

constexpr std::string_view kFields[] = {
    "model",
    "stream",
    "stream_options",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "stop",
    "stop_token_ids",
    "include_stop_str_in_output",
    "ignore_eos",
    "min_tokens",
    "cache_prompt",
    "priority",
    "timings",
    "routing",
    "response_format",
    "grammar",
    "json_schema",
    "structured_outputs",
};

void ReadSampler(const Json& body, SamplerConfig* sampler) {
  sampler->temperature = static_cast<float>(RealField(body, "temperature", 0, 100).value_or(1));
  sampler->top_p = static_cast<float>(RealField(body, "top_p", 0, 1).value_or(1));
  if (sampler->top_p == 0) sampler->top_p = 1e-6F;  // clients send 0 for "the likeliest alone"
  const int64_t top_k = IntField(body, "top_k", -1, kMaxTokens).value_or(0);
  sampler->top_k = static_cast<int>(std::max<int64_t>(top_k, 0));  // -1 = off elsewhere
  sampler->min_p = static_cast<float>(RealField(body, "min_p", 0, 1).value_or(0));
  sampler->typical_p = static_cast<float>(RealField(body, "typical_p", 1e-6, 1).value_or(1));
  auto repetition = RealField(body, "repetition_penalty", 0.01, 100);
  const auto alias = RealField(body, "repeat_penalty", 0.01, 100);
  sampler->repetition_penalty = static_cast<float>(repetition.value_or(alias.value_or(1)));
  sampler->repetition_window =
      static_cast<int>(IntField(body, "repeat_last_n", 0, kMaxTokens).value_or(64));
  sampler->frequency_penalty =
      static_cast<float>(RealField(body, "frequency_penalty", -2, 2).value_or(0));
  sampler->presence_penalty =
      static_cast<float>(RealField(body, "presence_penalty", -2, 2).value_or(0));
  const auto seed = IntField(body, "seed", std::numeric_limits<int64_t>::min(),
                             std::numeric_limits<int64_t>::max());
  std::random_device device;
  const uint64_t drawn = (uint64_t{device()} << 32) | device();
  sampler->seed = seed ? static_cast<uint64_t>(*seed) : drawn;
}

void ReadLogitBias(const Json& body, int vocab_size, SamplerConfig* sampler) {
  const auto biases = body.Find("logit_bias");
  if (!biases) return;
  const std::vector<std::string> keys = biases->Keys();
  if (keys.size() > kMaxBiases)
    ThrowField("logit_bias", "expected at most {} entries, found {}", kMaxBiases, keys.size());
  for (const std::string& key : keys) {
    int id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocab_size)
      ThrowField("logit_bias", "expected token ids from 0 to {} as keys, found '{}'",
                 vocab_size - 1, Printable(key, 20));
    const double bias = biases->At(key).AsDouble();
    if (!(bias >= -100 && bias <= 100))
      ThrowField("logit_bias", "expected numbers from -100 to 100, found {} for token {}", bias,
                 id);
    sampler->logit_bias.push_back({id, static_cast<float>(bias)});
  }
}

void ReadStops(const Json& body, int vocab_size, ServiceRequest* request) {
  if (const auto stop = body.Find("stop")) {
    request->stop = TextOrTexts(*stop, kMaxStops);
    for (const std::string& text : request->stop) {
      if (text.empty() || text.size() > kMaxStopBytes)
        ThrowField("stop", "expected strings of 1 to {} bytes, found one of {}", kMaxStopBytes,
                   text.size());
    }
  }
  if (const auto ids = body.Find("stop_token_ids")) {
    request->stop_tokens = TokenIds(*ids, vocab_size);
    if (request->stop_tokens.size() > kMaxStopTokens)
      ThrowField("stop_token_ids", "expected at most {}, found {}", kMaxStopTokens,
                 request->stop_tokens.size());
  }
  request->include_stop_text = BoolField(body, "include_stop_str_in_output").value_or(false);
  request->ignore_eos = BoolField(body, "ignore_eos").value_or(false);
  request->min_tokens = IntField(body, "min_tokens", 0, kMaxTokens).value_or(0);
}

std::vector<int> ExpertList(const Json& routing, std::string_view name, int n_experts) {
  std::vector<int> experts;
  const auto list = routing.Find(name);
  if (!list) return experts;
  for (size_t i = 0; i < list->Size(); ++i)
    experts.push_back(static_cast<int>(list->At(i).AsInt(0, n_experts - 1)));
  return experts;
}

void ReadRouting(const Json& body, const ModelFacts& facts, GenerationRequest* request) {
  const auto routing = body.Find("routing");
  if (!routing) return;
  if (!routing->IsObject()) ThrowField("routing", "expected an object, found something else");
  if (facts.n_experts == 0)
    throw HttpError(400, "routing: expected a model with experts, found a dense one", "routing",
                    "unsupported");
  request->service.return_routing = BoolField(*routing, "return").value_or(false);
  RoutingPolicy& policy = request->service.policy;
  policy.k =
      static_cast<int>(IntField(*routing, "experts_per_token", 1, facts.n_experts).value_or(0));
  policy.force = ExpertList(*routing, "force", facts.n_experts);
  policy.ban = ExpertList(*routing, "ban", facts.n_experts);
  const std::string encoding = ChoiceField(*routing, "encoding", {"base64", "arrays"}, "base64");
  if (encoding == "arrays") request->routing_encoding = RoutingEncoding::kArrays;
}

void ReadStream(const Json& body, GenerationRequest* request) {
  request->stream = BoolField(body, "stream").value_or(false);
  const auto options = body.Find("stream_options");
  if (!options) return;
  if (!request->stream)
    ThrowField("stream_options", "expected only together with \"stream\": true");
  request->include_usage = BoolField(*options, "include_usage").value_or(false);
}

void RefuseConstraints(const Json& body) {
  if (const auto format = body.Find("response_format")) {
    const std::string type =
        ChoiceField(*format, "type", {"text", "json_object", "json_schema"}, "text");
    if (type != "text")
      throw HttpError(400, fmt::format("response_format: {} is {}", type, kNotYet),
                      "response_format", "unsupported");
  }
  for (const std::string_view name : {"grammar", "json_schema", "structured_outputs"})
    RefuseField(body, name, kNotYet);
}

}  // namespace

std::span<const std::string_view> GenerationFields() { return kFields; }

GenerationRequest ParseGeneration(const Json& body, const ModelFacts& facts) {
  GenerationRequest request;
  request.model = TextField(body, "model").value_or("");
  RefuseConstraints(body);
  ReadStream(body, &request);
  ReadSampler(body, &request.service.sampler);
  ReadLogitBias(body, facts.vocab_size, &request.service.sampler);
  ReadStops(body, facts.vocab_size, &request.service);
  ReadRouting(body, facts, &request);
  request.service.n = static_cast<int>(IntField(body, "n", 1, facts.max_choices).value_or(1));
  request.service.use_prefix_cache = BoolField(body, "cache_prompt").value_or(true);
  request.service.priority = static_cast<int>(IntField(body, "priority", -1000, 1000).value_or(0));
  request.timings = BoolField(body, "timings").value_or(false);
  return request;
}

}  // namespace mixtral::server
