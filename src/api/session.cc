// SPDX-License-Identifier: Apache-2.0
// The public Session: generating, cancelling, and what the routers chose meanwhile.
#include <algorithm>
#include <utility>

#include "api/boundary.h"
#include "api/states.h"

namespace mixtral::api {
namespace {

mixtral::GenerateOptions ToInternal(const GenerateOptions& options) {
  if (options.max_tokens < -1)
    Throw(mixtral::ErrorCode::kInvalidArgument, "max_tokens: expected -1 or more, found {}",
          options.max_tokens);
  mixtral::GenerateOptions result;
  result.sampler.temperature = options.sampling.temperature;
  result.sampler.top_k = options.sampling.top_k;
  result.sampler.top_p = options.sampling.top_p;
  result.sampler.min_p = options.sampling.min_p;
  result.sampler.repetition_penalty = options.sampling.repetition_penalty;
  result.sampler.seed = options.sampling.seed;
  result.sampler.typical_p = options.sampling.typical_p;
  result.sampler.frequency_penalty = options.sampling.frequency_penalty;
  result.sampler.presence_penalty = options.sampling.presence_penalty;
  result.sampler.min_tokens = options.sampling.min_tokens;
  for (const LogitBias& bias : options.sampling.logit_bias)
    result.sampler.logit_bias.push_back({.id = bias.token, .bias = bias.bias});
  result.max_tokens = options.max_tokens;
  result.stop = options.stop;
  result.ignore_eos = options.ignore_eos;
  result.policy = ToInternal(options.policy);
  return result;
}

/// A prompt without text (a mere BOS) begins a text: its first word has no space before it.
StreamStart StartAfter(const std::vector<TokenId>& prompt, const Engine& engine) {
  const bool has_text =
      !engine.has_tokenizer() || std::any_of(prompt.begin(), prompt.end(), [&](TokenId id) {
        return engine.tokenizer().Type(id) != PieceType::kControl;
      });
  return has_text ? StreamStart::kContinuation : StreamStart::kNewText;
}

Finish ToPublic(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return Finish::kLength;
    case FinishReason::kEos:
      return Finish::kEos;
    case FinishReason::kStop:
      return Finish::kStop;
    case FinishReason::kContextFull:
      return Finish::kContextFull;
    case FinishReason::kCancelled:
      return Finish::kCancelled;
  }
  return Finish::kLength;
}

/// A Cancel ends one Generate, whichever way that ends.
class ConsumeCancel {
 public:
  explicit ConsumeCancel(std::atomic<bool>* flag) : flag_(flag) {}
  ~ConsumeCancel() { flag_->store(false); }
  ConsumeCancel(const ConsumeCancel&) = delete;
  ConsumeCancel& operator=(const ConsumeCancel&) = delete;

 private:
  std::atomic<bool>* flag_;
};

static_assert(std::atomic<bool>::is_always_lock_free, "Cancel is called from signal handlers");

}  // namespace

mixtral::RoutingPolicy ToInternal(const RoutingPolicy& policy) {
  return {.k = policy.k, .force = policy.force, .ban = policy.ban, .bias = policy.bias};
}

void RoutingReporter::OnRouting(int layer, const Batch& batch, const Routing& routing,
                                Matrix<const float> /*router_logits*/) {
  const int64_t n_tokens = routing.expert_ids.rows, k = routing.expert_ids.cols;
  ids_.clear();
  weights_.clear();
  for (int64_t t = 0; t < n_tokens; ++t) {
    ids_.insert(ids_.end(), routing.expert_ids.Row(t), routing.expert_ids.Row(t) + k);
    weights_.insert(weights_.end(), routing.weights.Row(t), routing.weights.Row(t) + k);
  }
  on_routing_({.layer = layer,
               .first_position = batch.ranges.front().start,
               .n_tokens = static_cast<int>(n_tokens),
               .k = static_cast<int>(k),
               .expert_ids = ids_,
               .weights = weights_});
}

Session::Session(Model& model, const SessionOptions& options)
    : state_(Translate([&] {
        ModelState* opened = model.state_.get();
        return std::make_unique<SessionState>(
            opened,
            mixtral::SessionOptions{.context = options.context, .kv_dtype = opened->kv_dtype()});
      })) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Generation Session::Generate(std::span<const Token> prompt, const GenerateOptions& options,
                             const std::function<void(std::string_view)>& on_text) {
  const ConsumeCancel consume(&state_->cancelled);
  return Translate([&] {
    const std::vector<TokenId> ids(prompt.begin(), prompt.end());
    mixtral::GenerateOptions generate = ToInternal(options);
    generate.stream_start = StartAfter(ids, state_->model->engine);
    RoutingReporter reporter(options.on_routing);
    generate.observer = reporter.observer();
    Generation generation;
    GenerateResult result = state_->session.Generate(
        ids, generate,
        [&](std::string_view text) {
          generation.text += text;
          if (on_text) on_text(text);
        },
        &state_->cancelled);
    generation.finish = ToPublic(result.finish);
    generation.tokens = std::move(result.tokens);
    generation.prompt_tokens = result.prompt_tokens;
    generation.prefill_tokens = result.prefill_tokens;
    generation.prefill_seconds = result.prefill_seconds;
    generation.decode_seconds = result.decode_seconds;
    return generation;
  });
}

void Session::Cancel() noexcept { state_->cancelled.store(true); }
void Session::Reset() { state_->session.Reset(); }
std::int64_t Session::context() const { return state_->session.context(); }

}  // namespace mixtral::api
