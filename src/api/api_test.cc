// SPDX-License-Identifier: Apache-2.0
// The public C++ interface on the model that ships: what it answers, and how it refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "mixtral/mixtral.h"

namespace mixtral::api {
namespace {

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";
constexpr const char* kPrompt = "To insert a table into a document,";

GenerateOptions Greedy(int max_tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

/// The code that fn's Error carries, and whether its text names what is wrong.
template <class Fn>
void ExpectError(ErrorCode code, const std::string& text, Fn&& fn) {
  try {
    fn();
    ADD_FAILURE() << "expected an Error about " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(ModelTest, SaysWhatItIs) {
  const Model model(kModel);
  EXPECT_EQ(model.info().n_layers, 4);
  EXPECT_EQ(model.info().dim, 256);
  EXPECT_EQ(model.info().vocab_size, 4096);
  EXPECT_EQ(model.info().n_experts, 8);
  EXPECT_EQ(model.info().experts_per_token, 2);
  EXPECT_EQ(model.info().max_context, 512);
  EXPECT_TRUE(model.info().has_tokenizer);
}

TEST(ModelTest, EncodesAndDecodes) {
  const Model model(kModel);
  const std::vector<Token> with_bos = model.Encode(kPrompt);
  const std::vector<Token> without = model.Encode(kPrompt, Bos::kNo);
  EXPECT_EQ(std::vector<Token>(with_bos.begin() + 1, with_bos.end()), without);
  EXPECT_EQ(model.Piece(with_bos.front()), "<s>");
  EXPECT_EQ(model.Decode(with_bos), kPrompt);
  EXPECT_EQ(model.Piece(-1), "");
}

TEST(ModelTest, RefusesToOpen) {
  ExpectError(ErrorCode::kNotFound, "/nowhere/model.gguf", [] { Model("/nowhere/model.gguf"); });
  ExpectError(ErrorCode::kInvalidArgument, "threads", [] { Model(kModel, {.threads = -1}); });
  ExpectError(ErrorCode::kInvalidArgument, "threads", [] { Model(kModel, {.threads = 1 << 30}); });
  ExpectError(ErrorCode::kInvalidArgument, "compute",
              [] { Model(kModel, {.compute = static_cast<Compute>(7)}); });
  ExpectError(ErrorCode::kInvalidArgument, "experts per token",
              [] { Model(kModel, {.max_experts_per_token = 9}); });
}

TEST(ModelTest, LogitsRefusesBadTokens) {
  Model model(kModel);
  const auto logits_of = [&](std::vector<Token> tokens) { model.Logits(tokens, {}); };
  ExpectError(ErrorCode::kInvalidArgument, "expected 1..512", [&] { logits_of({}); });
  ExpectError(ErrorCode::kInvalidArgument, "found 4096 at 1", [&] { logits_of({1, 4096}); });
  ExpectError(ErrorCode::kInvalidArgument, "found -1 at 0", [&] { logits_of({-1}); });
  ExpectError(ErrorCode::kInvalidArgument, "found 513",
              [&] { logits_of(std::vector<Token>(513, 5)); });
}

TEST(ModelTest, LogitsChooseWhatGreedyGenerationChooses) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  const Generation generation = session.Generate(prompt, Greedy(6));
  ASSERT_EQ(generation.tokens.size(), 6u);
  std::vector<Token> all = prompt;
  all.insert(all.end(), generation.tokens.begin(), generation.tokens.end());
  std::vector<Token> likeliest;
  model.Logits(all, [&](std::int64_t position, std::span<const float> logits) {
    ASSERT_EQ(position, std::ssize(likeliest));
    ASSERT_EQ(logits.size(), 4096u);
    likeliest.push_back(
        static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  });
  ASSERT_EQ(likeliest.size(), all.size());
  for (size_t i = prompt.size(); i < all.size(); ++i) EXPECT_EQ(likeliest[i - 1], all[i]) << i;
}

TEST(ModelTest, LogitsOfALongTextComeInChunksButInOrder) {
  Model model(kModel);
  std::int64_t next = 0, next_routed = 0;
  LogitsOptions options;
  options.on_routing = [&](const RoutingEvent& event) {
    if (event.layer != 3) return;
    EXPECT_EQ(event.first_position, next_routed);
    next_routed += event.n_tokens;
  };
  model.Logits(
      std::vector<Token>(300, 5),
      [&](std::int64_t position, std::span<const float>) { EXPECT_EQ(position, next++); }, options);
  EXPECT_EQ(next, 300);
  EXPECT_EQ(next_routed, 300);
}

TEST(SessionTest, StreamsTheTextThatItReturns) {
  Model model(kModel);
  Session session(model);
  std::string streamed;
  const Generation generation =
      session.Generate(model.Encode(kPrompt), Greedy(12), [&](auto text) { streamed += text; });
  EXPECT_EQ(generation.finish, Finish::kLength);
  EXPECT_EQ(streamed, generation.text);
  EXPECT_EQ(generation.text, model.Decode(generation.tokens).insert(0, " "));
  EXPECT_EQ(generation.prompt_tokens, generation.prefill_tokens);
}

TEST(SessionTest, ATextBeginsWithoutASpace) {
  Model model(kModel);
  Session session(model);
  GenerateOptions options;
  options.max_tokens = 1;
  options.sampling.seed = 3;
  const Generation generation = session.Generate(model.Encode(""), options);
  EXPECT_EQ(generation.text, model.Decode(generation.tokens));
}

TEST(SessionTest, RemembersThePromptUntilReset) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  const Generation first = session.Generate(prompt, Greedy(4));
  const Generation second = session.Generate(prompt, Greedy(4));
  EXPECT_EQ(second.prefill_tokens, 1);
  session.Reset();
  const Generation third = session.Generate(prompt, Greedy(4));
  EXPECT_EQ(third.prefill_tokens, third.prompt_tokens);
  EXPECT_EQ(first.tokens, second.tokens);
  EXPECT_EQ(first.tokens, third.tokens);
}

TEST(SessionTest, StopsBeforeAStopText) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  const std::string whole = session.Generate(prompt, Greedy(12)).text;
  GenerateOptions options = Greedy(12);
  options.stop = {whole.substr(8, 4)};
  const Generation generation = session.Generate(prompt, options);
  EXPECT_EQ(generation.finish, Finish::kStop);
  EXPECT_EQ(generation.text, whole.substr(0, whole.find(options.stop[0])));
}

TEST(SessionTest, CancelEndsOneGeneration) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  const Generation during =
      session.Generate(prompt, Greedy(50), [&](std::string_view) { session.Cancel(); });
  EXPECT_EQ(during.finish, Finish::kCancelled);
  EXPECT_GT(during.tokens.size(), 0u);
  EXPECT_LT(during.tokens.size(), 50u);
  session.Cancel();
  EXPECT_EQ(session.Generate(prompt, Greedy(2)).finish, Finish::kCancelled);
  EXPECT_EQ(session.Generate(prompt, Greedy(2)).finish, Finish::kLength);
}

TEST(SessionTest, AThrowingCallbackLeavesTheSessionUsable) {
  Model model(kModel);
  Session session(model), fresh(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  EXPECT_THROW(session.Generate(prompt, Greedy(8), [](std::string_view) { throw 42; }), int);
  GenerateOptions watched = Greedy(8);
  int n_calls = 0;
  watched.on_routing = [&](const RoutingEvent&) {
    if (++n_calls == 6) throw std::string("enough");
  };
  EXPECT_THROW(session.Generate(prompt, watched), std::string);
  EXPECT_EQ(session.Generate(prompt, Greedy(8)).tokens, fresh.Generate(prompt, Greedy(8)).tokens);
}

TEST(SessionTest, ShowsTheRoutingOfEveryPosition) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  std::vector<std::int64_t> seen(4, 0);  // positions per layer
  GenerateOptions options = Greedy(3);
  options.on_routing = [&](const RoutingEvent& event) {
    ASSERT_TRUE(event.layer >= 0 && event.layer < 4);
    EXPECT_EQ(event.first_position, seen[static_cast<size_t>(event.layer)]);
    seen[static_cast<size_t>(event.layer)] += event.n_tokens;
    ASSERT_EQ(event.k, 2);
    ASSERT_EQ(event.expert_ids.size(), static_cast<size_t>(event.n_tokens) * 2);
    ASSERT_EQ(event.weights.size(), event.expert_ids.size());
    for (size_t i = 0; i < event.expert_ids.size(); i += 2) {
      EXPECT_TRUE(event.expert_ids[i] >= 0 && event.expert_ids[i] < 8);
      EXPECT_NE(event.expert_ids[i], event.expert_ids[i + 1]);
      EXPECT_GE(event.weights[i], event.weights[i + 1]);
      EXPECT_NEAR(event.weights[i] + event.weights[i + 1], 1, 1e-6);
    }
  };
  session.Generate(prompt, options);
  // The last of the three tokens was chosen and needed no step of its own.
  EXPECT_EQ(seen, std::vector<std::int64_t>(4, std::ssize(prompt) + 2));
}

TEST(SessionTest, FollowsARoutingPolicy) {
  Model model(kModel, {.max_experts_per_token = 3});
  Session session(model);
  GenerateOptions options = Greedy(2);
  options.policy = {.k = 3, .force = {5}, .ban = {0, 1}};
  int n_rows = 0;
  options.on_routing = [&](const RoutingEvent& event) {
    ASSERT_EQ(event.k, 3);
    for (int row = 0; row < event.n_tokens; ++row, ++n_rows) {
      const auto ids = event.expert_ids.subspan(static_cast<size_t>(row) * 3, 3);
      EXPECT_EQ(std::count(ids.begin(), ids.end(), 5), 1);
      EXPECT_EQ(std::count(ids.begin(), ids.end(), 0) + std::count(ids.begin(), ids.end(), 1), 0);
    }
  };
  session.Generate(model.Encode(kPrompt), options);
  EXPECT_GT(n_rows, 0);
  options.policy = {.k = 4};
  ExpectError(ErrorCode::kInvalidArgument, "4",
              [&] { session.Generate(model.Encode(kPrompt), options); });
}

TEST(SessionTest, PenaltiesBiasAndMinTokensReachTheSampler) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  const auto with = [&](auto change) {
    GenerateOptions options = Greedy(60);
    change(options.sampling);
    return session.Generate(prompt, options).tokens;
  };
  const std::vector<Token> plain = with([](Sampling&) {});
  ASSERT_FALSE(plain.empty());
  const auto without_first =
      with([&](Sampling& s) { s.logit_bias = {{.token = plain[0], .bias = -INFINITY}}; });
  EXPECT_EQ(std::count(without_first.begin(), without_first.end(), plain[0]), 0);
  // As much as can be: the token that was generated once never wins again.
  const auto varied = with([](Sampling& s) { s.presence_penalty = s.frequency_penalty = 2; });
  EXPECT_NE(varied, plain);
  const auto eager = with([](Sampling& s) { s.logit_bias = {{.token = 2, .bias = 100}}; });
  EXPECT_TRUE(eager.empty());  // 2 is EOS
  const auto patient = with([](Sampling& s) {
    s.logit_bias = {{.token = 2, .bias = 100}};
    s.min_tokens = 3;
  });
  EXPECT_EQ(patient, std::vector<Token>(plain.begin(), plain.begin() + 3));
  const auto typical = with([](Sampling& s) {
    s.temperature = 1;
    s.typical_p = 0.2f;
  });
  EXPECT_NE(typical, with([](Sampling& s) { s.temperature = 1; }));
}

TEST(SessionTest, RefusesBadOptions) {
  Model model(kModel);
  Session session(model);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  const auto with = [&](auto change) {
    return [&, change] {
      GenerateOptions options;
      change(options);
      session.Generate(prompt, options);
    };
  };
  constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;
  ExpectError(kBad, "temperature", with([](auto& o) { o.sampling.temperature = NAN; }));
  ExpectError(kBad, "typical_p", with([](auto& o) { o.sampling.typical_p = 0; }));
  ExpectError(kBad, "frequency_penalty", with([](auto& o) { o.sampling.frequency_penalty = 3; }));
  ExpectError(kBad, "presence_penalty", with([](auto& o) { o.sampling.presence_penalty = -3; }));
  ExpectError(kBad, "min_tokens", with([](auto& o) { o.sampling.min_tokens = -1; }));
  ExpectError(kBad, "logit_bias", with([](auto& o) { o.sampling.logit_bias = {{4096, 1}}; }));
  ExpectError(kBad, "max_tokens", with([](auto& o) { o.max_tokens = -2; }));
  ExpectError(kBad, "ban", with([](auto& o) { o.policy.ban = {8}; }));
  ExpectError(kBad, "bias", with([](auto& o) { o.policy.bias = {1, 2}; }));
  ExpectError(kBad, "context", [&] { Session(model, {.context = 513}); });
  ExpectError(kBad, "prompt", [&] { session.Generate({}); });
}

TEST(SessionTest, SurvivesMovesOfItselfAndItsModel) {
  Model model(kModel);
  const std::vector<Token> prompt = model.Encode(kPrompt);
  Session session(model, {.context = 64});
  const Generation before = session.Generate(prompt, Greedy(4));
  const Model moved = std::move(model);
  Session other = std::move(session);
  EXPECT_EQ(other.context(), 64);
  EXPECT_EQ(other.Generate(prompt, Greedy(4)).tokens, before.tokens);
  EXPECT_EQ(moved.info().n_experts, 8);
}

}  // namespace
}  // namespace mixtral::api
