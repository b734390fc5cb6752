// SPDX-License-Identifier: Apache-2.0
// The service on the model that ships: every answer is the one that a session of its own gives, and
// every way in and out of it.
#include "engine/service.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "engine/service_options.h"
#include "engine/service_test_support.h"

namespace mixtral {
namespace {

using testing::ChoiceOutcome;
using testing::Outcome;
using testing::Outcomes;
using testing::RunAlone;
using testing::RunOne;

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";
constexpr int64_t kContext = 256;

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kModel)) GTEST_SKIP() << "the model that ships is missing";
    Open({.context = kContext, .cache_positions = 2048, .max_running = 4, .step_tokens = 64});
  }
  void Open(const ServiceOptions& options, ForwardFunction forward = {}) {
    service_.reset();
    EngineOptions engine_options = EngineOptionsFor(options, {.threads = 1});
    engine_options.max_experts_per_token = 3;
    engine_ = std::make_unique<Engine>(kModel, engine_options);
    service_ = forward ? std::make_unique<Service>(engine_.get(), options, std::move(forward))
                       : std::make_unique<Service>(engine_.get(), options);
  }
  std::vector<TokenId> Prompt(const std::string& text) {
    return engine_->tokenizer().Encode(text, AddBos::kYes);
  }
  ServiceRequest Request(const std::string& text, int64_t max_tokens, float temperature = 0) {
    ServiceRequest request;
    request.prompt = Prompt(text);
    request.max_tokens = max_tokens;
    request.sampler = {.temperature = temperature, .seed = 7};
    request.ignore_eos = true;
    return request;
  }
  static const ChoiceOutcome& Only(const Outcome& outcome) {
    EXPECT_EQ(outcome.n_done, 1);
    EXPECT_EQ(outcome.choices.size(), 1u);
    return outcome.choices.at(0);
  }
  void ExpectAsAlone(const ServiceRequest& request, const Outcome& outcome) {
    ASSERT_EQ(outcome.choices.size(), static_cast<size_t>(request.n));
    for (const auto& [index, choice] : outcome.choices) {
      std::string text;
      GenerateResult alone = RunAlone(*engine_, kContext, request, index, &text);
      std::vector<TokenId> tokens = choice.tokens;
      if (choice.finish == FinishReason::kEos && !tokens.empty()) tokens.pop_back();
      EXPECT_EQ(tokens, alone.tokens) << "choice " << index;
      EXPECT_EQ(choice.text, text) << "choice " << index;
      EXPECT_EQ(choice.finish, alone.finish) << "choice " << index;
    }
  }
  std::string Refusal(const ServiceRequest& request) {
    RequestId id = 0;
    try {
      service_->Submit(request, {}, &id);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "accepted";
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Service> service_;
};

TEST_F(ServiceTest, AnswersAsASessionDoes) {
  for (const float temperature : {0.0f, 1.0f}) {
    const ServiceRequest request = Request("The document", 30, temperature);
    const Outcome outcome = RunOne(*service_, request);
    ExpectAsAlone(request, outcome);
    EXPECT_EQ(outcome.usage.prompt_tokens, std::ssize(request.prompt));
    EXPECT_EQ(outcome.usage.completion_tokens, 30);
    EXPECT_EQ(outcome.n_events, 30);
    EXPECT_GT(outcome.usage.first_token_seconds, 0);
  }
  const ServiceStats stats = service_->Stats();
  EXPECT_EQ(stats.generated_tokens_total, 60);
  EXPECT_EQ(stats.finished_total, 2);
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_EQ(stats.cache_used, 0);
}

TEST_F(ServiceTest, ChoicesDifferBySeedAndShareThePrompt) {
  ServiceRequest request = Request(std::string(200, 'a') + " The document", 20, 1.0f);
  for (const int n : {2, 4, 7}) {  // 7: more than run at once
    request.n = n;
    ExpectAsAlone(request, RunOne(*service_, request));
  }
  EXPECT_LE(service_->Stats().prompt_tokens_total, 3 * std::ssize(request.prompt));
}

TEST_F(ServiceTest, EndsOfAnAnswer) {
  ServiceRequest request = Request("The document", 30);
  const ChoiceOutcome plain = Only(RunOne(*service_, request));
  request.stop = {"never there", plain.text.substr(8, 4)};
  Outcome outcome = RunOne(*service_, request);
  ExpectAsAlone(request, outcome);
  EXPECT_EQ(Only(outcome).stop_string, plain.text.substr(8, 4));
  const std::string before = Only(outcome).text;
  request.include_stop_text = true;
  EXPECT_EQ(Only(RunOne(*service_, request)).text, before + plain.text.substr(8, 4));

  request = Request("The document", 30);
  request.ignore_eos = false;
  request.stop_tokens = {plain.tokens[6]};
  outcome = RunOne(*service_, request);
  ExpectAsAlone(request, outcome);
  EXPECT_EQ(Only(outcome).tokens.back(), plain.tokens[6]) << "the ending token is told";

  request = Request("The document", -1);
  outcome = RunOne(*service_, request);
  ExpectAsAlone(request, outcome);
  EXPECT_EQ(Only(outcome).finish, FinishReason::kContextFull);
  EXPECT_EQ(std::ssize(request.prompt) + std::ssize(Only(outcome).tokens), kContext + 1);

  outcome = RunOne(*service_, Request("The document", 0));
  EXPECT_EQ(Only(outcome).finish, FinishReason::kLength);
  EXPECT_TRUE(Only(outcome).tokens.empty());
}

TEST_F(ServiceTest, NothingEndsBeforeMinTokens) {
  ServiceRequest request = Request("The document", 20);
  const ChoiceOutcome plain = Only(RunOne(*service_, request));
  request.ignore_eos = false;
  request.stop_tokens = {plain.tokens[2]};
  request.min_tokens = 10;
  const ChoiceOutcome longer = Only(RunOne(*service_, request));
  EXPECT_GT(longer.tokens.size(), 10u);
  const auto first_ten_end = longer.tokens.begin() + 10;
  EXPECT_EQ(std::find(longer.tokens.begin(), first_ten_end, plain.tokens[2]), first_ten_end)
      << "an end is not chosen before";
  request = Request("The document", 20);
  request.stop = {plain.text.substr(3, 2)};
  request.min_tokens = 20;
  EXPECT_EQ(Only(RunOne(*service_, request)).text, plain.text);
}

TEST_F(ServiceTest, LogprobsOfAnAnswerAreThoseOfItAsAPrompt) {
  ServiceRequest request = Request("The document", 12, 1.0f);
  request.top_logprobs = 3;
  request.sampler.repetition_penalty = 1.5f;  // changes what is picked, not the scores
  const Outcome answer = RunOne(*service_, request);
  const ChoiceOutcome& choice = Only(answer);
  ASSERT_EQ(choice.scored.size(), 12u);
  ServiceRequest echo = request;
  echo.prompt.insert(echo.prompt.end(), choice.tokens.begin(), choice.tokens.end());
  echo.max_tokens = 0;
  echo.prompt_logprobs = true;
  const Outcome scores = RunOne(*service_, echo);
  ASSERT_EQ(scores.prompt_scores.size(), echo.prompt.size() - 1);
  const size_t first = request.prompt.size() - 1;
  for (size_t i = 0; i < 12; ++i) {
    const ScoredToken &a = choice.scored[i], &b = scores.prompt_scores[first + i];
    EXPECT_EQ(a.token.id, b.token.id);
    EXPECT_EQ(a.token.logprob, b.token.logprob);
    ASSERT_EQ(a.top.size(), 3u);
    for (size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(a.top[k].id, b.top[k].id);
      EXPECT_EQ(a.top[k].logprob, b.top[k].logprob);
    }
    EXPECT_GE(a.top[0].logprob, a.token.logprob);
  }
}

TEST_F(ServiceTest, ScoresFromSomeTokenOnAreTheSameNumbersAndUseTheCache) {
  ServiceRequest request = Request("Click the button to open the dialog. " + std::string(150, 'a') +
                                       " The document has been saved.",
                                   0);
  request.prompt_logprobs = true;
  request.top_logprobs = 1;
  const std::vector<ScoredToken> all = RunOne(*service_, request).prompt_scores;
  ASSERT_GT(all.size(), 130u);
  const auto expect_the_last = [&](size_t n, const Outcome& outcome) {
    ASSERT_EQ(outcome.prompt_scores.size(), n);
    for (size_t i = 0; i < n; ++i) {
      const ScoredToken &a = all[all.size() - n + i], &b = outcome.prompt_scores[i];
      EXPECT_EQ(a.token.id, b.token.id) << i;
      EXPECT_EQ(a.token.logprob, b.token.logprob) << i;
      EXPECT_EQ(a.top[0].id, b.top[0].id) << i;
    }
  };
  for (const int64_t n : {1, 7, 65, 100}) {
    request.logprobs_from = std::ssize(request.prompt) - n;
    for (const bool uses_cache : {false, true}) {
      request.use_prefix_cache = uses_cache;
      const Outcome outcome = RunOne(*service_, request);
      expect_the_last(static_cast<size_t>(n), outcome);
      const int64_t n_found = (request.logprobs_from - 1) / 64 * 64;
      EXPECT_EQ(outcome.usage.cached_tokens, uses_cache ? n_found : 0);
    }
  }
  // The last token as a target: scored the same, without a row of its own.
  request.target = request.prompt.back();
  request.prompt.pop_back();
  request.logprobs_from = std::ssize(request.prompt) - 6;
  expect_the_last(7, RunOne(*service_, request));
  request.logprobs_from = std::ssize(request.prompt);
  expect_the_last(1, RunOne(*service_, request));
}

TEST_F(ServiceTest, PooledHiddenStatesAreThoseOfThePrompt) {
  ServiceRequest request = Request("Click the button to open the dialog.", 0);
  request.pooling = HiddenPooling::kMean;
  const std::vector<float> mean = RunOne(*service_, request).hidden;
  ASSERT_EQ(std::ssize(mean), engine_->config().dim);
  // The last hidden state of every beginning, one by one.
  std::vector<double> sum(mean.size());
  const std::vector<TokenId> prompt = request.prompt;
  request.pooling = HiddenPooling::kLast;
  for (size_t n = 1; n <= prompt.size(); ++n) {
    request.prompt.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(n));
    const std::vector<float> last = RunOne(*service_, request).hidden;
    ASSERT_EQ(last.size(), mean.size());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(last[i]);
  }
  for (size_t i = 0; i < sum.size(); ++i)
    EXPECT_EQ(mean[i], static_cast<float>(sum[i] / static_cast<double>(prompt.size())));
}

// Keeps all choices of a session's forward steps.
class Recorder final : public ForwardObserver {
 public:
  void OnRouting(int layer, const Batch& batch, const Routing& routing,
                 Matrix<const float>) override {
    for (int row = 0; row < batch.ranges[0].n_rows; ++row) {
      TokenRouting& token = tokens[batch.ranges[0].start + row];
      for (int64_t k = 0; k < routing.expert_ids.cols; ++k) {
        token.expert_ids.push_back(static_cast<uint8_t>(routing.expert_ids.At(row, k)));
        token.weights.push_back(routing.weights.At(row, k));
      }
    }
    n_layers = layer + 1;
  }
  std::map<int64_t, TokenRouting> tokens;
  int n_layers = 0;
};

TEST_F(ServiceTest, RoutingOfEveryToken) {
  for (const int k : {0, 1, 3}) {
    ServiceRequest request = Request("Click the button to open the dialog.", 6);
    request.return_routing = true;
    request.policy.k = k;
    const Outcome outcome = RunOne(*service_, request);
    Recorder recorder;
    Session session(engine_.get(), {.context = kContext});
    GenerateOptions options;
    options.sampler = request.sampler;
    options.max_tokens = 6;
    options.ignore_eos = true;
    options.policy = request.policy;
    options.observer = &recorder;
    session.Generate(request.prompt, options, {});
    std::vector<TokenRouting> all = outcome.prompt_routing;
    EXPECT_EQ(all.size(), request.prompt.size());
    for (const TokenRouting& token : Only(outcome).routing) all.push_back(token);
    ASSERT_EQ(all.size(), recorder.tokens.size()) << "the last token is never computed";
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i].position, static_cast<int64_t>(i));
      EXPECT_EQ(all[i].expert_ids, recorder.tokens[static_cast<int64_t>(i)].expert_ids) << i;
      EXPECT_EQ(all[i].weights, recorder.tokens[static_cast<int64_t>(i)].weights) << i;
    }
  }
}

TEST_F(ServiceTest, ExpertCountersAddUp) {
  RunOne(*service_, Request("Click the button to open the dialog.", 6));
  const ServiceStats stats = service_->Stats();
  const ModelConfig& config = engine_->config();
  const int64_t n_computed = std::ssize(Prompt("Click the button to open the dialog.")) + 5;
  for (int layer = 0; layer < config.n_layers; ++layer) {
    int64_t sum = 0;
    for (int e = 0; e < config.n_experts; ++e)
      sum += stats.expert_tokens[static_cast<size_t>(layer * config.n_experts + e)];
    EXPECT_EQ(sum, n_computed * config.experts_per_token);
  }
  EXPECT_EQ(stats.routed_pairs, n_computed - 1);
}

TEST_F(ServiceTest, ARepeatedPromptIsFoundInTheCache) {
  ServiceRequest request = Request(std::string(150, 'x') + " The document", 10);
  ASSERT_GT(request.prompt.size(), 64u);
  const int64_t full = (std::ssize(request.prompt) - 1) / 64 * 64;
  const Outcome first = RunOne(*service_, request), second = RunOne(*service_, request);
  EXPECT_EQ(first.usage.cached_tokens, 0);
  EXPECT_EQ(second.usage.cached_tokens, full);
  EXPECT_EQ(Only(first).tokens, Only(second).tokens);
  EXPECT_EQ(service_->Stats().prefix_hits_total, full);
  EXPECT_GT(service_->Stats().cache_reusable, 0);
  // Not with another routing, and not when it is not wanted; the model's own k is no other routing.
  ServiceRequest other = request;
  other.policy.k = 1;
  EXPECT_EQ(RunOne(*service_, other).usage.cached_tokens, 0);
  other.policy.k = engine_->config().experts_per_token;
  EXPECT_EQ(RunOne(*service_, other).usage.cached_tokens, full);
  other.use_prefix_cache = false;
  EXPECT_EQ(RunOne(*service_, other).usage.cached_tokens, 0);
}

TEST_F(ServiceTest, RequestsThatCanNeverRunAreRefused) {
  const auto has = [&](const ServiceRequest& request, const std::string& text) {
    const std::string refusal = Refusal(request);
    EXPECT_NE(refusal.find(text), std::string::npos) << refusal;
  };
  const ServiceRequest good = Request("The document", 1);
  ServiceRequest bad = good;
  bad.prompt.clear();
  has(bad, "prompt: expected at least 1 token");
  bad.prompt = {1, 4096};
  has(bad, "expected token ids in 0..4095, found 4096");
  bad.prompt.assign(kContext + 1, 5);
  has(bad, "expected at most 256 tokens (the context), found 257");
  bad = good;
  bad.n = 0;
  has(bad, "n: expected 1..128, found 0");
  bad = good;
  bad.max_tokens = -2;
  has(bad, "max_tokens");
  bad = good;
  bad.min_tokens = -1;
  has(bad, "min_tokens");
  bad = good;
  bad.sampler.top_p = 2;
  has(bad, "top_p");
  bad = good;
  bad.sampler.logit_bias = {{4096, 1.0f}};
  has(bad, "logit_bias: expected token ids in 0..4095, found 4096");
  bad = good;
  bad.policy.k = 4;
  has(bad, "k");
  bad = good;
  bad.top_logprobs = 5000;
  has(bad, "top_logprobs");
  bad = good;
  bad.logprobs_from = std::ssize(bad.prompt) + 1;
  has(bad, "logprobs_from: expected 1..3, found 4");
  bad = good;
  bad.target = 4096;
  has(bad, "target: expected -1..4095, found 4096");
}

TEST_F(ServiceTest, OptionsAreFilledInAndCapped) {
  const ServiceOptions& options = service_->options();
  EXPECT_EQ(options.cache_positions, 2048);
  EXPECT_EQ(service_->CacheBytes(), options.cache_bytes);
  EXPECT_EQ(service_->CacheBytes(),
            2048 * KvCache::BytesPerPosition(engine_->config(), DType::kF16));
  const uint64_t one = KvCache::BytesPerPosition(engine_->config(), DType::kF16);
  const auto positions = [&](ServiceOptions asked, uint64_t free_bytes) {
    return FillOptions(*engine_, asked, free_bytes).cache_positions;
  };
  EXPECT_EQ(positions({.context = 100, .max_running = 3}, one << 40), 3 * 128);
  EXPECT_EQ(positions({.context = 100, .max_running = 3}, one * 4 * 300), 256);
  EXPECT_EQ(positions({.context = 100, .cache_bytes = one * 200}, 0), 192);
  EXPECT_EQ(positions({.context = 100, .cache_positions = 1000, .cache_bytes = one * 200}, 0), 192);
  EXPECT_EQ(positions({.context = 100, .cache_positions = 150}, 0), 192);
  EXPECT_EQ(FillOptions(*engine_, {}, one << 40).max_running, 64) << "as many as logit rows";
  for (const ServiceOptions& bad :
       {ServiceOptions{.context = 513}, ServiceOptions{.context = 256, .cache_positions = 128},
        ServiceOptions{.context = 256, .cache_bytes = 100}, ServiceOptions{.max_running = 0}})
    EXPECT_THROW(FillOptions(*engine_, bad, one << 40), Error);
}

}  // namespace
}  // namespace mixtral
