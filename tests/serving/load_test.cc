// SPDX-License-Identifier: Apache-2.0
// The service under load: random mixes of requests with shared beginnings, several choices, other
// routing, scores, cancellations, in a cache that is far too small for them. Every answer is,
// bitwise, the one of a session of its own, or of a service that does nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/rng.h"
#include "engine/service.h"
#include "engine/service_test_support.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

constexpr int64_t kContext = 192;
constexpr int kMaxK = 3;

class Dice {
 public:
  explicit Dice(uint64_t seed) : rng_(seed) {}
  uint64_t Of(uint64_t n) { return rng_.Bits(counter_++) % n; }
  bool OneIn(uint64_t n) { return Of(n) == 0; }

 private:
  CounterRng rng_;
  uint64_t counter_ = 0;
};

std::vector<TokenId> RandomPrompt(Dice& dice, int vocab_size) {
  // One of three beginnings of up to two pages, then a tail of its own.
  std::vector<TokenId> prompt =
      RandomTokens(static_cast<int>(dice.Of(150)), vocab_size, 1000 + dice.Of(2));
  const std::vector<TokenId> tail =
      RandomTokens(1 + static_cast<int>(dice.Of(30)), vocab_size, dice.Of(1 << 30));
  prompt.insert(prompt.end(), tail.begin(), tail.end());
  return prompt;
}

ServiceRequest RandomRequest(Dice& dice, int vocab_size) {
  ServiceRequest request;
  request.prompt = RandomPrompt(dice, vocab_size);
  request.max_tokens = dice.OneIn(8) ? 0 : 1 + static_cast<int64_t>(dice.Of(40));
  if (dice.OneIn(3)) {
    request.sampler.temperature = 0;
  } else {
    request.sampler = {.temperature = 1.0f, .top_k = 40, .top_p = 0.9f};
    request.sampler.repetition_penalty = dice.OneIn(2) ? 1.2f : 1.0f;
    request.sampler.seed = dice.Of(1000);
  }
  if (dice.OneIn(3)) request.n = 2 + static_cast<int>(dice.Of(3));
  if (dice.OneIn(5)) request.policy.k = 1 + static_cast<int>(dice.Of(kMaxK));
  if (dice.OneIn(8)) request.policy.ban = {static_cast<int>(dice.Of(2))};
  if (dice.OneIn(3)) request.top_logprobs = static_cast<int>(dice.Of(4));
  request.prompt_logprobs = dice.OneIn(5);
  if (dice.OneIn(5)) request.pooling = HiddenPooling::kMean;
  if (dice.OneIn(5)) request.pooling = HiddenPooling::kLast;
  request.return_routing = dice.OneIn(4);
  request.use_prefix_cache = !dice.OneIn(5);
  request.priority = static_cast<int>(dice.Of(3));
  request.ignore_eos = !dice.OneIn(3);
  if (dice.OneIn(3)) request.stop = {"a", "Zz"};
  return request;
}

void ExpectSameScores(const std::vector<ScoredToken>& a, const std::vector<ScoredToken>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token.id, b[i].token.id);
    EXPECT_EQ(a[i].token.logprob, b[i].token.logprob);
    ASSERT_EQ(a[i].top.size(), b[i].top.size());
    for (size_t k = 0; k < a[i].top.size(); ++k) {
      EXPECT_EQ(a[i].top[k].id, b[i].top[k].id);
      EXPECT_EQ(a[i].top[k].logprob, b[i].top[k].logprob);
    }
  }
}

void ExpectSameRouting(const std::vector<TokenRouting>& a, const std::vector<TokenRouting>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].position, b[i].position);
    EXPECT_EQ(a[i].expert_ids, b[i].expert_ids);
    EXPECT_EQ(a[i].weights, b[i].weights);
  }
}

struct Job {
  ServiceRequest request;
  int cancel_after = -1;  // events
};

class Load {
 public:
  Load(const std::string& path, const ServiceOptions& options, int n_jobs, uint64_t seed)
      : dice_(seed),
        options_(options),
        engine_(path, Sized(options)),
        alone_engine_(path, Sized({})) {
    for (int i = 0; i < n_jobs; ++i) {
      Job& job = jobs_.emplace_back();
      job.request = RandomRequest(dice_, engine_.config().vocab_size);
      if (!engine_.has_tokenizer()) job.request.stop.clear();
      if (dice_.OneIn(6)) job.cancel_after = static_cast<int>(dice_.Of(12));
    }
  }

  void Run() {
    Service service(&engine_, options_);
    std::vector<std::thread> callers;
    for (size_t first : {0u, 1u})
      callers.emplace_back([&, first] {
        for (size_t i = first; i < jobs_.size(); i += 2) Submit(service, i);
      });
    for (std::thread& caller : callers) caller.join();
    Service alone(&alone_engine_, {.context = kContext, .max_running = 8});
    for (size_t i = 0; i < jobs_.size(); ++i) Compare(i, alone);
    // A request that comes after all others finds nothing left of them but what can be reused.
    ServiceRequest last;
    last.prompt = {5};
    last.max_tokens = 1;
    RunOne(service, last);
    stats = service.Stats();
    EXPECT_EQ(stats.running, 0);
    EXPECT_EQ(stats.waiting, 0);
    EXPECT_EQ(stats.cache_used, 0);
  }

  ServiceStats stats;

 private:
  static EngineOptions Sized(const ServiceOptions& options) {
    EngineOptions sized = EngineOptionsFor(options, {.threads = 1});
    sized.max_experts_per_token = kMaxK;
    return sized;
  }

  void Submit(Service& service, size_t i) {
    const Job& job = jobs_[i];
    RequestId id = 0;
    int n_events = 0;
    const SubmitResult result = service.Submit(
        job.request,
        outcomes_.For(static_cast<int>(i),
                      [this, &service, &job, n_events](const ServiceEvent& event) mutable {
                        if (++n_events == job.cancel_after) service.Cancel(event.id);
                        CheckBudget(service.Stats());
                      }),
        &id);
    EXPECT_EQ(result, SubmitResult::kAccepted);
    if (job.cancel_after == 0) service.Cancel(id);
  }

  void CheckBudget(const ServiceStats& now) const {
    EXPECT_LE(now.cache_used + now.cache_reusable, now.cache_positions);
    EXPECT_EQ(now.cache_positions, options_.cache_positions);
    EXPECT_LE(now.running, options_.max_running);
  }

  void Compare(size_t i, Service& alone) {
    SCOPED_TRACE(::testing::Message() << "request " << i);
    ServiceRequest request = jobs_[i].request;
    const Outcome got = outcomes_.Wait(static_cast<int>(i));
    EXPECT_EQ(got.n_done, 1);
    EXPECT_FALSE(got.error.has_value());
    ASSERT_EQ(got.choices.size(), static_cast<size_t>(request.n));
    const bool cancelled = jobs_[i].cancel_after >= 0;
    for (const auto& [index, choice] : got.choices)
      CompareChoice(request, index, choice, cancelled);
    if (cancelled) return;
    request.use_prefix_cache = false;
    const Outcome want = RunOne(alone, request);
    ExpectSameScores(got.prompt_scores, want.prompt_scores);
    ExpectSameRouting(got.prompt_routing, want.prompt_routing);
    EXPECT_EQ(got.hidden, want.hidden);
    for (const auto& [index, choice] : want.choices) {
      ExpectSameScores(got.choices.at(index).scored, choice.scored);
      ExpectSameRouting(got.choices.at(index).routing, choice.routing);
    }
  }

  void CompareChoice(const ServiceRequest& request, int index, const ChoiceOutcome& choice,
                     bool cancelled) {
    std::string text;
    const GenerateResult alone = RunAlone(alone_engine_, kContext, request, index, &text);
    std::vector<TokenId> tokens = choice.tokens;
    if (choice.finish == FinishReason::kEos && !tokens.empty()) tokens.pop_back();
    if (cancelled && choice.finish == FinishReason::kCancelled) {
      ASSERT_LE(tokens.size(), alone.tokens.size());
      EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), alone.tokens.begin()));
      return;
    }
    EXPECT_EQ(tokens, alone.tokens) << "choice " << index;
    EXPECT_EQ(choice.text, text);
    EXPECT_EQ(choice.finish, alone.finish);
  }

  Dice dice_;
  ServiceOptions options_;
  Engine engine_, alone_engine_;
  std::vector<Job> jobs_;
  Outcomes outcomes_;
};

struct LoadSize {
  int64_t pages;  // a context has three
  int step_tokens, n_jobs;
};

void RunLoads(const std::string& path, const std::vector<LoadSize>& sizes) {
  int64_t n_preemptions = 0, n_hits = 0;
  uint64_t seed = 1;
  for (const LoadSize& size : sizes) {
    ++seed;
    Load load(path,
              {.context = kContext,
               .cache_positions = size.pages * 64,
               .prefix_bytes = seed % 2 == 1 ? size_t{1} << 15 : 0,
               .max_running = 6,
               .step_tokens = size.step_tokens,
               .prefill_tokens = 16},
              size.n_jobs, seed);
    load.Run();
    n_preemptions += load.stats.preemptions_total;
    n_hits += load.stats.prefix_hits_total;
  }
  EXPECT_GT(n_preemptions, 0);
  EXPECT_GT(n_hits, 0);
}

TEST(ServiceLoad, ShippedModel) {
  const std::string path = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "the model that ships is missing";
  RunLoads(path, {{5, 64, 24}, {10, 9, 16}});
}

TEST(ServiceLoad, GeneratedModel) {
  const TempDir dir;
  ModelConfig config = TinyConfig();
  config.max_context = 256;
  WriteGguf(MakeTinyModel(config, 17), dir / "m.gguf");
  RunLoads(dir / "m.gguf", {{5, 64, 60}, {5, 9, 60}, {10, 64, 60}, {10, 9, 60}});
}

}  // namespace
}  // namespace mixtral::testing
