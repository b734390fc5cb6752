// SPDX-License-Identifier: Apache-2.0
// One conversation: keeps the cache of what was computed, prefills what is new of a prompt and
// generates token by token. Called by the commands run and chat.
#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/error.h"
#include "engine/engine.h"

namespace mixtral {
namespace {

constexpr int64_t kDefaultContext = 4096;

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool SamePolicy(const RoutingPolicy& a, const RoutingPolicy& b) {
  return a.k == b.k && a.force == b.force && a.ban == b.ban && a.bias == b.bias;
}

bool IsSet(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load(std::memory_order_relaxed);
}

/// Text of a generation, where the model has a tokenizer: ids in, certain text to the caller.
class TextOutput {
 public:
  TextOutput(const Engine& engine, const GenerateOptions& options,
             const std::function<void(std::string_view)>& on_text)
      : on_text_(on_text) {
    if (engine.has_tokenizer())
      stream_.emplace(&engine.tokenizer(), options.stream_start, options.stop);
    else if (!options.stop.empty())
      engine.tokenizer();  // throws: stop strings need one
  }
  void Push(TokenId id) {
    if (stream_) Emit(stream_->Push(id));
  }
  void Finish() {
    if (stream_) Emit(stream_->Finish());
  }
  bool stopped() const { return stream_ && stream_->stopped(); }

 private:
  void Emit(const std::string& text) const {
    if (!text.empty() && on_text_) on_text_(text);
  }
  std::optional<TokenStream> stream_;
  const std::function<void(std::string_view)>& on_text_;
};

/// Tells how far a step has come after each of its layers, in whole tokens: a step may take minutes
/// where weights come from a slow disk. Passes everything on to the observer of the caller.
class LayerTicks final : public ForwardObserver {
 public:
  using OnTokens = std::function<void(int64_t done, int64_t total)>;
  LayerTicks(ForwardObserver* next, int n_layers, int64_t total, const OnTokens& on_tokens)
      : next_(next), n_layers_(n_layers), total_(total), on_tokens_(on_tokens) {}

  void BeginStep(int64_t done, int64_t n_tokens) { done_ = done, n_tokens_ = n_tokens; }
  void OnLayer(int layer, const Batch& batch, Matrix<const float> residual) override {
    if (next_ != nullptr && next_->WantsLayers()) next_->OnLayer(layer, batch, residual);
    on_tokens_(done_ + n_tokens_ * (layer + 1) / n_layers_, total_);
  }
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float> router_logits) override {
    if (next_ != nullptr) next_->OnRouting(layer, batch, routing, router_logits);
  }
  bool WantsLayers() const override { return true; }

 private:
  ForwardObserver* next_;
  int n_layers_;
  int64_t total_, done_ = 0, n_tokens_ = 0;
  const OnTokens& on_tokens_;
};

}  // namespace

int64_t ChooseContext(const ModelConfig& config, int64_t asked) {
  if (asked == 0) return std::min<int64_t>(config.max_context, kDefaultContext);
  if (asked < 0 || asked > config.max_context)
    Throw(ErrorCode::kInvalidArgument, "context: expected 1..{} positions (the model's), found {}",
          config.max_context, asked);
  return asked;
}

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kContextFull:
      return "context full";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Session::Session(Engine* engine, const SessionOptions& options)
    : engine_(engine),
      context_(ChooseContext(engine->config(), options.context)),
      kv_dtype_(options.kv_dtype),
      kv_(engine->config(), {.dtype = options.kv_dtype, .n_positions = context_},
          &engine->backend()),
      seq_(*kv_.Open()),
      logits_(static_cast<size_t>(engine->config().vocab_size)),
      step_bytes_(engine->plan().active_bytes),
      position_bytes_(KvCache::BytesPerPosition(engine->config(), options.kv_dtype)) {}

void Session::Reset() {
  kv_.Truncate(seq_, 0);
  cached_.clear();
}

void CheckPrompt(const std::vector<TokenId>& prompt, int vocab_size, int64_t context) {
  if (prompt.empty())
    Throw(ErrorCode::kInvalidArgument, "prompt: expected at least 1 token, found none");
  for (size_t i = 0; i < prompt.size(); ++i)
    if (prompt[i] < 0 || prompt[i] >= vocab_size)
      Throw(ErrorCode::kInvalidArgument, "prompt: expected token ids in 0..{}, found {} at {}",
            vocab_size - 1, prompt[i], i);
  if (static_cast<int64_t>(prompt.size()) > context)
    Throw(ErrorCode::kInvalidArgument, "prompt: expected at most {} tokens (the context), found {}",
          context, prompt.size());
}

/// Truncates the cache to what it shares with prompt, but leaves the last token to be computed: its
/// logits are wanted.
void Session::KeepCommonPrefix(const std::vector<TokenId>& prompt, const RoutingPolicy& policy) {
  if (!SamePolicy(policy, policy_)) {
    Reset();
    policy_ = policy;
    ModelConfig config = engine_->config();
    if (policy.k > 0) config.experts_per_token = policy.k;
    step_bytes_ = PlanMemory(engine_->checkpoint(), config, kv_dtype_).active_bytes;
  }
  const auto [mine, theirs] =
      std::mismatch(cached_.begin(), cached_.end(), prompt.begin(), prompt.end() - 1);
  cached_.erase(mine, cached_.end());
  kv_.Truncate(seq_, static_cast<int64_t>(cached_.size()));
}

void Session::Step(std::span<const TokenId> tokens, WantLogits want) {
  const auto n = static_cast<int>(tokens.size());
  Check(kv_.Reserve(seq_, n), "the context was sized for this");
  const SeqRange range = {
      .seq = seq_, .first_row = 0, .n_rows = n, .start = static_cast<int64_t>(cached_.size())};
  const int32_t last_row = n - 1;
  const RoutingPolicy* policy = &policy_;
  const Batch batch = {.tokens = tokens,
                       .ranges = {&range, 1},
                       .logit_rows = {&last_row, want == WantLogits::kYes ? 1u : 0u},
                       .hidden_rows = {},
                       .policies = {&policy, 1}};
  const auto vocab = static_cast<int64_t>(logits_.size());
  ForwardOutput output;
  if (want == WantLogits::kYes) output.logits = {logits_.data(), 1, vocab, vocab};
  engine_->transformer().Forward(batch, kv_, output, observer_);
  cached_.insert(cached_.end(), tokens.begin(), tokens.end());
}

/// false: cancelled.
bool Session::Prefill(const std::vector<TokenId>& prompt, const std::atomic<bool>* cancel,
                      const std::function<void(int64_t, int64_t)>& on_prefill) {
  const auto chunk = static_cast<size_t>(engine_->transformer().options().max_batch_tokens);
  const size_t begin = cached_.size();
  LayerTicks ticks(observer_, engine_->config().n_layers,
                   static_cast<int64_t>(prompt.size() - begin), on_prefill);
  ForwardObserver* const callers = observer_;
  if (on_prefill) observer_ = &ticks;
  while (cached_.size() < prompt.size() && !IsSet(cancel)) {
    const size_t n = std::min(chunk, prompt.size() - cached_.size());
    const bool is_last = cached_.size() + n == prompt.size();
    ticks.BeginStep(static_cast<int64_t>(cached_.size() - begin), static_cast<int64_t>(n));
    Step(std::span(prompt).subspan(cached_.size(), n),
         is_last ? WantLogits::kYes : WantLogits::kNo);
  }
  observer_ = callers;
  return cached_.size() == prompt.size();
}

/// Makes logits_ those that follow all, the prompt and what was chosen so far; or says why there is
/// nothing to choose.
std::optional<FinishReason> Session::NextLogits(const std::vector<TokenId>& all,
                                                const GenerateOptions& options,
                                                const std::atomic<bool>* cancel,
                                                GenerateResult& result) {
  if (options.max_tokens >= 0 && std::ssize(result.tokens) >= options.max_tokens)
    return FinishReason::kLength;
  if (IsSet(cancel)) return FinishReason::kCancelled;
  if (all.size() == cached_.size()) return std::nullopt;  // the prefill left them
  if (std::ssize(all) > context_) return FinishReason::kContextFull;
  Step({&all.back(), 1}, WantLogits::kYes);
  ++result.decode_steps;
  result.decode_bytes += step_bytes_ + position_bytes_ * cached_.size();
  return std::nullopt;
}

GenerateResult Session::Generate(
    const std::vector<TokenId>& prompt, const GenerateOptions& options,
    const std::function<void(std::string_view)>& on_text, const std::atomic<bool>* cancel,
    const std::function<void(int64_t done, int64_t total)>& on_prefill) {
  CheckPrompt(prompt, engine_->config().vocab_size, context_);
  const ModelConfig& config = engine_->config();
  options.policy.Validate(config.n_experts, config.experts_per_token,
                          engine_->transformer().options().max_k);
  // Rows beyond the tokenizer's pieces are padding; choosing one would print nothing.
  const int n_choices =
      engine_->has_tokenizer() ? engine_->tokenizer().vocab_size() : config.vocab_size;
  std::vector<TokenId> eos = options.stop_tokens;
  eos.insert(eos.end(), engine_->eos_ids().begin(), engine_->eos_ids().end());
  SamplerConfig sampling = options.sampler;
  if (!options.ignore_eos) sampling.end_ids.insert(sampling.end_ids.end(), eos.begin(), eos.end());
  Sampler sampler(sampling, n_choices);
  TextOutput text(*engine_, options, on_text);
  GenerateResult result;
  result.prompt_tokens = std::ssize(prompt);
  observer_ = options.observer;

  auto start = Clock::now();
  KeepCommonPrefix(prompt, options.policy);
  const size_t reused = cached_.size();
  const bool prefilled = Prefill(prompt, cancel, on_prefill);
  result.prefill_tokens = static_cast<int64_t>(cached_.size() - reused);
  result.prefill_seconds = SecondsSince(start);
  result.finish = FinishReason::kCancelled;
  if (!prefilled) return result;

  start = Clock::now();
  std::vector<TokenId> all = prompt;
  std::optional<FinishReason> finish;
  while (!(finish = NextLogits(all, options, cancel, result))) {
    const TokenId id = sampler.Pick(std::span(logits_).first(static_cast<size_t>(n_choices)),
                                    {.tokens = all, .n_prompt = prompt.size()});
    if (!options.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end()) {
      finish = FinishReason::kEos;
      break;
    }
    all.push_back(id);
    result.tokens.push_back(id);
    text.Push(id);
    if (text.stopped()) {
      finish = FinishReason::kStop;
      break;
    }
  }
  text.Finish();
  result.finish = *finish;
  result.decode_seconds = SecondsSince(start);
  return result;
}

}  // namespace mixtral
