// SPDX-License-Identifier: Apache-2.0
// The shipped model as a measurement asks it: the same numbers as a forward pass alone, for any
// order and neighbours, and the rules of where texts are cut.
#include "eval/local_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

namespace mixtral::eval {
namespace {

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";
constexpr int64_t kContext = 256;

class LocalModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kModel)) GTEST_SKIP() << "the model that ships is missing";
  }
  LocalModelOptions Options(int max_running = 4) {
    return {.path = kModel,
            .engine = {.threads = 1},
            .service = {.context = kContext,
                        .cache_positions = 2048,
                        .max_running = max_running,
                        .step_tokens = 64},
            .chat_format = "",
            .cancel = nullptr,
            .on_notice = [this](const std::string& notice) { notices_.push_back(notice); }};
  }
  static std::vector<Likelihood> ScoreAll(LanguageModel& model,
                                          const std::vector<ContinuationRequest>& requests) {
    std::vector<Likelihood> results(requests.size());
    std::vector<int> n_done(requests.size());
    model.Score(requests, [&](size_t i, const Likelihood& likelihood) {
      results[i] = likelihood;
      ++n_done[i];
    });
    EXPECT_EQ(n_done, std::vector<int>(requests.size(), 1));
    return results;
  }
  static std::vector<std::vector<std::string>> GenerateAll(
      LanguageModel& model, const std::vector<GenerationRequest>& requests) {
    std::vector<std::vector<std::string>> results(requests.size());
    model.Generate(requests, [&](size_t i, const GeneratedAnswers& answers) {
      EXPECT_TRUE(results[i].empty());
      results[i] = answers.texts;
    });
    return results;
  }
  /// log P and whether greedy by the service alone, one request at a time, without its cache.
  static Likelihood Alone(const std::vector<TokenId>& tokens, size_t n_scored) {
    const ServiceOptions options = {.context = kContext, .cache_positions = 512};
    Engine engine(kModel, EngineOptionsFor(options, {.threads = 2}));
    Service service(&engine, options);
    std::vector<ScoredToken> scores;
    ServiceRequest request;
    request.prompt = tokens;
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    request.top_logprobs = 1;
    request.use_prefix_cache = false;
    std::atomic<bool> is_done = false;
    RequestId id = 0;
    service.Submit(
        request,
        [&](ServiceEvent&& event) {
          if (!event.prompt_scores.empty()) scores = event.prompt_scores;
          is_done = event.done;
          is_done.notify_one();
        },
        &id);
    is_done.wait(false);
    Likelihood sum;
    sum.is_greedy = true;
    for (size_t i = scores.size() - n_scored; i < scores.size(); ++i) {
      sum.logprob += static_cast<double>(scores[i].token.logprob);
      sum.is_greedy = sum.is_greedy && scores[i].token.id == scores[i].top[0].id;
    }
    return sum;
  }

  std::vector<std::string> notices_;
};

std::vector<ContinuationRequest> Questions() {
  std::vector<ContinuationRequest> requests;
  const std::string shared = "Click the button to open the dialog. " + std::string(90, 'a') + " ";
  for (int question = 0; question < 5; ++question)
    for (const char* answer :
         {" The document", " the file has been saved", " yes", " \u00e9\u65e5\u672c"})
      requests.push_back({shared + std::to_string(question) + ". What is it?", answer});
  requests.push_back({"", "The document"});
  requests.push_back({"The document ", "is open"});
  return requests;
}

TEST_F(LocalModelTest, NumbersAreThoseOfOneRequestAlone) {
  LocalModel model(Options());
  const std::vector<ContinuationRequest> requests = Questions();
  const std::vector<Likelihood> results = ScoreAll(model, requests);
  for (const size_t i : {0u, 7u, 19u, 20u, 21u}) {
    const Tokenizer& tokenizer = model.tokenizer();
    std::string context = requests[i].context, continuation = requests[i].continuation;
    if (i == 21) context = "The document", continuation = " is open";
    const auto whole = tokenizer.Encode(context + continuation, AddBos::kYes);
    const size_t n = whole.size() - tokenizer.Encode(context, AddBos::kYes).size();
    const Likelihood alone = Alone(whole, n);
    EXPECT_EQ(results[i].n_tokens, static_cast<int64_t>(n)) << i;
    EXPECT_EQ(results[i].logprob, alone.logprob) << i;
    EXPECT_EQ(results[i].is_greedy, alone.is_greedy) << i;
    EXPECT_LT(results[i].logprob, 0);
  }
  EXPECT_TRUE(notices_.empty());
}

TEST_F(LocalModelTest, OrderAndNeighboursDoNotMatterAndPrefixesAreComputedOnce) {
  std::vector<ContinuationRequest> requests = Questions();
  LocalModel model(Options(8)), other(Options(2));
  const std::vector<Likelihood> results = ScoreAll(model, requests);
  int64_t n_all = 0;
  for (const ContinuationRequest& request : requests)
    n_all += model.CountTokens(request.context + request.continuation);
  // 20 requests share more than a page of 64 tokens: 19 of them find it.
  EXPECT_GE(model.Stats().prefix_hits_total, 19 * 64);
  EXPECT_LT(model.Stats().prefix_hits_total, n_all);
  std::reverse(requests.begin(), requests.end());
  std::vector<Likelihood> reversed = ScoreAll(other, requests);
  std::reverse(reversed.begin(), reversed.end());
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].logprob, reversed[i].logprob);
}

TEST_F(LocalModelTest, WhatGreedyGenerationWritesIsGreedy) {
  LocalModel model(Options());
  GenerationRequest request = {.prompt = "The document", .messages = {}, .stop = {}};
  request.max_tokens = 5;
  const std::string text = GenerateAll(model, {request})[0].at(0);
  ASSERT_FALSE(text.empty());
  const std::vector<Likelihood> results =
      ScoreAll(model, {{"The document", text}, {"The document", text + "zzq"}});
  EXPECT_TRUE(results[0].is_greedy) << text;
  EXPECT_FALSE(results[1].is_greedy);
}

TEST_F(LocalModelTest, AnswersAreSeededEndAtStopsAndDoNotDependOnNeighbours) {
  LocalModel model(Options());
  GenerationRequest sampled = {.prompt = "The document", .messages = {}, .stop = {}};
  sampled.max_tokens = 8;
  sampled.temperature = 1;
  sampled.seed = 3;
  sampled.n = 3;
  const auto first = GenerateAll(model, {sampled});
  ASSERT_EQ(first[0].size(), 3u);
  GenerationRequest second = sampled, stopped = sampled;
  second.seed = 4;
  second.n = 1;
  stopped.stop = {first[0][0].substr(2, 3)};
  const auto both = GenerateAll(model, {stopped, second});
  EXPECT_EQ(both[1][0], first[0][1]);  // answer i of seed s is answer 0 of seed s + i
  EXPECT_EQ(both[0][0], first[0][0].substr(0, first[0][0].find(stopped.stop[0])));
}

TEST_F(LocalModelTest, ConversationsUseTheModelsOwnFormat) {
  LocalModel model(Options());
  GenerationRequest chat = {.prompt = "", .messages = {{"user", "Hello"}}, .stop = {}};
  chat.max_tokens = 6;
  GenerationRequest plain = chat;
  plain.messages.clear();
  plain.prompt = "Hello";
  const auto texts = GenerateAll(model, {chat, plain});
  EXPECT_FALSE(texts[0].at(0).empty());
  EXPECT_NE(texts[0], texts[1]);
}

TEST_F(LocalModelTest, RollingIsTheSumOverItsWindows) {
  LocalModel model(Options());
  std::string text;
  for (int i = 0; i < 60; ++i) text += "The document " + std::to_string(i) + " has been saved. ";
  const std::vector<std::string> texts = {text, "Short.", ""};
  std::vector<Likelihood> results(3);
  model.Roll(texts, [&](size_t i, const Likelihood& likelihood) { results[i] = likelihood; });
  std::vector<TokenId> tokens = model.tokenizer().Encode(text, AddBos::kYes);
  ASSERT_GT(std::ssize(tokens), 2 * kContext);
  EXPECT_EQ(results[0].n_tokens, std::ssize(tokens) - 1);
  double sum = 0;
  for (const TokenWindow& window : CutWindows(tokens, {.context = kContext})) {
    std::vector<TokenId> short_window = window.tokens;
    short_window.pop_back();  // all but the last are scored by a service of the same context
    if (window.n_scored > 1) sum += Alone(short_window, window.n_scored - 1).logprob;
  }
  double without_last = 0;
  size_t at = 0;
  for (const TokenWindow& window : CutWindows(tokens, {.context = kContext})) {
    for (size_t i = 0; i + 1 < window.n_scored; ++i)
      without_last += static_cast<double>(results[0].token_logprobs[at + i]);
    at += window.n_scored;
  }
  EXPECT_EQ(at, results[0].token_logprobs.size());
  EXPECT_NEAR(without_last, sum, 1e-9 * std::abs(sum));
  EXPECT_EQ(results[1].n_tokens, model.CountTokens("Short."));
  EXPECT_EQ(results[2].n_tokens, 0);
  EXPECT_EQ(results[2].logprob, 0);
}

TEST_F(LocalModelTest, WhatIsTooLongLosesItsBeginningOrIsRefused) {
  LocalModel model(Options());
  std::string words;
  for (int i = 0; i < 300; ++i) words += " file";
  const std::vector<Likelihood> results =
      ScoreAll(model, {{words, " the"}, {words + " file", " the"}});
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_NE(notices_[0].find("2 requests did not fit the context of 256 tokens"), std::string::npos)
      << notices_[0];
  EXPECT_EQ(results[0].logprob, results[1].logprob);
  EXPECT_THROW(ScoreAll(model, {{"a", words}}), Error);
  EXPECT_THROW(ScoreAll(model, {{"a", ""}}), Error);
  GenerationRequest request = {.prompt = words, .messages = {}, .stop = {}};
  request.max_tokens = 10;
  EXPECT_EQ(GenerateAll(model, {request}).size(), 1u);
  EXPECT_EQ(notices_.size(), 2u);
  request.max_tokens = 256;
  EXPECT_THROW(GenerateAll(model, {request}), Error);
}

TEST_F(LocalModelTest, CancelledCallsReturnEarlyAndCallersErrorsGetOut) {
  std::atomic<bool> cancel = false;
  LocalModelOptions options = Options();
  options.cancel = &cancel;
  LocalModel model(options);
  const std::vector<ContinuationRequest> requests = Questions();
  size_t n_done = 0;
  model.Score(requests, [&](size_t, const Likelihood&) {
    ++n_done;
    cancel = true;
  });
  EXPECT_EQ(n_done, 1u);
  cancel = false;
  EXPECT_THROW(
      model.Score(requests, [](size_t, const Likelihood&) { Throw(ErrorCode::kIo, "disk full"); }),
      Error);
  EXPECT_EQ(ScoreAll(model, requests).size(), requests.size());  // the next call is whole
}

TEST_F(LocalModelTest, FingerprintsTellHowAModelIsComputed) {
  LocalModelOptions options = Options();
  const std::string fast = LocalModel(options).fingerprint();
  EXPECT_EQ(fast, LocalModel(options).fingerprint());
  options.engine.compute = ComputeMode::kExact;
  EXPECT_NE(fast, LocalModel(options).fingerprint());
}

}  // namespace
}  // namespace mixtral::eval
