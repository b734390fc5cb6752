// SPDX-License-Identifier: Apache-2.0
// Texts become windows of tokens, windows become requests of the service.
#include "eval/local_model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/sha256.h"
#include "eval/service_batch.h"
#include "eval/text_windows.h"
#include "text/chat_choice.h"

namespace mixtral::eval {
namespace {

/// A prompt of one token less than it has is scored from anywhere on; nobody waits for a first
/// word, so prompts go as fast as they can.
ServiceOptions ForThroughput(ServiceOptions options) {
  options.prefill_tokens = options.step_tokens;
  options.max_queued_tokens = std::numeric_limits<int64_t>::max() / 2;
  return options;
}

EngineOptions EngineFor(const LocalModelOptions& options) {
  EngineOptions engine = EngineOptionsFor(options.service, options.engine);
  engine.max_logit_rows = engine.max_batch_tokens;  // scored prompts need many
  return engine;
}

Likelihood LikelihoodOf(std::span<const ScoredToken> scores) {
  Likelihood sum = {.is_greedy = true};
  for (const ScoredToken& score : scores) {
    sum.logprob += static_cast<double>(score.token.logprob);
    sum.is_greedy = sum.is_greedy && score.top.front().id == score.token.id;
  }
  sum.n_tokens = std::ssize(scores);
  return sum;
}

}  // namespace

LocalModel::LocalModel(const LocalModelOptions& options)
    : options_(options),
      engine_(options.path, EngineFor(options)),
      service_(&engine_, ForThroughput(options.service)) {
  engine_.tokenizer();  // throws: texts need one
}

TokenId LocalModel::prefix_id() const {
  const TokenId bos = tokenizer().bos_id(), eos = tokenizer().eos_id();
  if (bos < 0 && eos < 0)
    Throw(ErrorCode::kUnsupported,
          "tokenizer: expected a BOS or EOS piece to begin a text with, found none, in {}", name());
  return bos >= 0 ? bos : eos;
}

void LocalModel::ScoreWindows(std::vector<TokenWindow> windows, const OnWindow& done) {
  ServiceBatch batch;
  std::vector<TokenId> targets;
  for (TokenWindow& window : windows) {
    Check(window.n_scored >= 1 && window.n_scored < window.tokens.size(),
          "a window has a token before those that are scored");
    targets.push_back(window.tokens.back());
    window.tokens.pop_back();
    batch.prompts.push_back(std::move(window.tokens));
  }
  batch.make = [&](size_t i) {
    ServiceRequest request;
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    request.top_logprobs = 1;
    request.target = targets[i];
    request.logprobs_from = static_cast<int64_t>(batch.prompts[i].size() + 1 - windows[i].n_scored);
    return request;
  };
  batch.done = [&](size_t i, ServiceAnswer&& answer) { done(i, answer.scores); };
  batch.cancel = options_.cancel;
  RunBatch(service_, batch);
}

TokenWindow LocalModel::WindowOf(const ContinuationRequest& request, int64_t* n_cut) const {
  if (request.continuation.empty())
    Throw(ErrorCode::kInvalidArgument, "continuation: expected a text, found an empty one");
  const SplitText split = SplitBeforeSpaces(request.context, request.continuation);
  TokenWindow window;
  window.tokens = {prefix_id()};
  const auto encode = [&](std::string_view text) { return tokenizer().Encode(text, AddBos::kNo); };
  const std::vector<TokenId> whole = encode(std::string(split.context) + split.continuation);
  window.tokens.insert(window.tokens.end(), whole.begin(), whole.end());
  const size_t n_context = encode(split.context).size();
  // Where the whole has fewer tokens than its beginning, the last one is what can be scored.
  window.n_scored = whole.size() > n_context ? whole.size() - n_context : 1;
  const auto limit = static_cast<size_t>(max_tokens());
  if (window.n_scored > limit)
    Throw(ErrorCode::kInvalidArgument,
          "continuation: expected at most {} tokens (the context), found {}", limit,
          window.n_scored);
  if (window.tokens.size() > limit + 1) {
    window.tokens.erase(window.tokens.begin(),
                        window.tokens.end() - static_cast<std::ptrdiff_t>(limit) - 1);
    ++*n_cut;
  }
  return window;
}

void LocalModel::ReportCut(int64_t n_cut, std::string_view what) const {
  if (n_cut > 0 && options_.on_notice)
    options_.on_notice(
        fmt::format("{} {} did not fit the context of {} tokens and lost their "
                    "beginning",
                    n_cut, what, max_tokens()));
}

void LocalModel::Score(std::span<const ContinuationRequest> requests, const OnLikelihood& done) {
  std::vector<TokenWindow> windows;
  int64_t n_cut = 0;
  for (const ContinuationRequest& request : requests) windows.push_back(WindowOf(request, &n_cut));
  ReportCut(n_cut, "requests");
  ScoreWindows(std::move(windows), [&](size_t i, std::span<const ScoredToken> scores) {
    done(i, LikelihoodOf(scores));
  });
}

void LocalModel::Roll(std::span<const std::string> texts, const OnLikelihood& done) {
  struct Text {
    Likelihood sum = {.is_greedy = true};
    size_t n_open = 0;
    std::vector<std::vector<float>> logprobs;  // [window]
  };
  struct Place {
    size_t text, window;
  };
  std::vector<Text> open(texts.size());
  std::vector<TokenWindow> windows;
  std::vector<Place> places;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<TokenId> tokens = tokenizer().Encode(texts[i], AddBos::kNo);
    tokens.insert(tokens.begin(), prefix_id());
    for (TokenWindow& window : CutWindows(tokens, {.context = max_tokens()})) {
      places.push_back({i, open[i].n_open++});
      windows.push_back(std::move(window));
    }
    open[i].logprobs.resize(open[i].n_open);
    if (open[i].n_open == 0) done(i, open[i].sum);
  }
  ScoreWindows(std::move(windows), [&](size_t i, std::span<const ScoredToken> scores) {
    Text& text = open[places[i].text];
    text.sum.is_greedy = text.sum.is_greedy && LikelihoodOf(scores).is_greedy;
    for (const ScoredToken& score : scores)
      text.logprobs[places[i].window].push_back(score.token.logprob);
    if (--text.n_open > 0) return;
    for (const std::vector<float>& window : text.logprobs)  // in order: the same sum always
      for (const float logprob : window) text.sum.token_logprobs.push_back(logprob);
    text.sum.n_tokens = std::ssize(text.sum.token_logprobs);
    for (const float logprob : text.sum.token_logprobs)
      text.sum.logprob += static_cast<double>(logprob);
    done(places[i].text, text.sum);
    text = {};
  });
}

const ChatTemplate& LocalModel::Chat() {
  if (!chat_)
    chat_ = ChooseChat(options_.chat_format, tokenizer(), options_.path, [this] {
              return engine_.checkpoint().chat_template();
            }).chat_template;
  return *chat_;
}

std::vector<TokenId> LocalModel::PromptOf(const GenerationRequest& request, int64_t* n_cut) {
  std::vector<TokenId> tokens;
  if (request.messages.empty()) {
    tokens = tokenizer().Encode(request.prompt, AddBos::kNo);
    tokens.insert(tokens.begin(), prefix_id());
  } else {
    std::vector<Message> messages;
    for (const ChatMessage& message : request.messages)
      messages.push_back({.role = message.role, .content = message.content});
    tokens = Chat().Render(messages);
  }
  const int64_t limit = max_tokens() - request.max_tokens;
  if (limit < 1)
    Throw(ErrorCode::kInvalidArgument, "max_tokens: expected fewer than {} (the context), found {}",
          max_tokens(), request.max_tokens);
  if (std::ssize(tokens) > limit) {
    tokens.erase(tokens.begin(), tokens.end() - limit);
    ++*n_cut;
  }
  return tokens;
}

ServiceRequest LocalModel::RequestOf(const GenerationRequest& request) const {
  ServiceRequest service;
  service.max_tokens = request.max_tokens;
  service.n = request.n;
  service.stop = request.stop;
  service.sampler.temperature = request.temperature;
  service.sampler.top_p = request.top_p;
  service.sampler.seed = request.seed;
  if (request.messages.empty()) return service;
  service.stream_start = StreamStart::kNewText;
  service.stop_tokens = chat_->StopTokens();
  for (const std::string& text : chat_->StopStrings()) service.stop.push_back(text);
  return service;
}

void LocalModel::Generate(std::span<const GenerationRequest> requests, const OnAnswers& done) {
  ServiceBatch batch;
  int64_t n_cut = 0;
  for (const GenerationRequest& request : requests)
    batch.prompts.push_back(PromptOf(request, &n_cut));
  ReportCut(n_cut, "prompts");
  batch.make = [&](size_t i) { return RequestOf(requests[i]); };
  batch.done = [&](size_t i, ServiceAnswer&& answer) {
    answer.texts.resize(static_cast<size_t>(requests[i].n));
    done(i, {.texts = std::move(answer.texts)});
  };
  batch.cancel = options_.cancel;
  RunBatch(service_, batch);
}

int64_t LocalModel::CountTokens(const std::string& text) {
  return std::ssize(tokenizer().Encode(text, AddBos::kNo));
}

/// Of the config, every tensor's name, type, shape and first bytes, and how it is computed: two
/// fine-tunes of one model differ in it, and nothing large is read.
std::string LocalModel::fingerprint() const {
  constexpr size_t kBytes = 256;
  const Checkpoint& checkpoint = engine_.checkpoint();
  Sha256 hash;
  hash.Update(checkpoint.config().Dump());
  for (const std::string& name : checkpoint.Names()) {
    hash.Update(name);
    const TensorView* tensor = checkpoint.Look(name);
    if (tensor == nullptr || tensor->bytes.data() == nullptr) continue;
    hash.Update(tensor->bytes.first(std::min(kBytes, tensor->bytes.size())));
  }
  hash.Update(fmt::format("{} {} {} {}", checkpoint.FileBytes(),
                          static_cast<int>(options_.engine.compute),
                          static_cast<int>(options_.service.kv_dtype), max_tokens()));
  return Hex(hash.Finish()).substr(0, 16);
}

std::unique_ptr<LanguageModel> OpenLocalModel(const LocalModelOptions& options) {
  return std::make_unique<LocalModel>(options);
}

}  // namespace mixtral::eval
