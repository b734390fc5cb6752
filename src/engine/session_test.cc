// SPDX-License-Identifier: Apache-2.0
// Sessions on the model that ships: what is reused, where a generation ends, what is refused. The
// tests run in the repository's root, where models/ lies.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <string>

#include "base/error.h"
#include "engine/engine.h"

namespace mixtral {
namespace {

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kModel)) GTEST_SKIP() << "the model that ships is missing";
  }

  static EngineOptions Options(int max_batch_tokens = 512) {
    return {.threads = 1, .max_batch_tokens = max_batch_tokens, .max_experts_per_token = 3};
  }
  static GenerateOptions Greedy(int max_tokens) {
    GenerateOptions options;
    options.sampler.temperature = 0;
    options.max_tokens = max_tokens;
    options.ignore_eos = true;
    return options;
  }
  static std::vector<TokenId> Prompt(const Engine& engine, const std::string& text) {
    return engine.tokenizer().Encode(text, AddBos::kYes);
  }
  static std::string ErrorOf(Session& session, const std::vector<TokenId>& prompt,
                             const GenerateOptions& options) {
    try {
      session.Generate(prompt, options, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "nothing was thrown";
  }
};

TEST_F(SessionTest, EngineKnowsTokenizerAndEos) {
  const Engine engine(kModel, Options());
  EXPECT_EQ(engine.tokenizer().vocab_size(), engine.config().vocab_size);
  EXPECT_EQ(engine.eos_ids(), std::vector<TokenId>{2});
  EXPECT_GT(engine.plan().weight_bytes, engine.plan().active_bytes);
  EXPECT_EQ(engine.threads(), 1);
}

TEST_F(SessionTest, TooManyExpertsPerTokenAreRefused) {
  EngineOptions options = Options();
  options.max_experts_per_token = 9;
  try {
    const Engine engine(kModel, options);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("expected 1..8"), std::string::npos) << error.what();
  }
}

TEST_F(SessionTest, TextIsTheDecodedTokensInPieces) {
  Engine engine(kModel, Options());
  Session session(&engine, {});
  const auto prompt = Prompt(engine, "The document");
  std::string text;
  int n_pieces = 0;
  const GenerateResult result = session.Generate(prompt, Greedy(20), [&](std::string_view piece) {
    text += piece;
    ++n_pieces;
  });
  EXPECT_EQ(result.finish, FinishReason::kLength);
  EXPECT_EQ(result.tokens.size(), 20u);
  EXPECT_GT(n_pieces, 5);
  std::vector<TokenId> all = prompt;
  all.insert(all.end(), result.tokens.begin(), result.tokens.end());
  EXPECT_EQ("The document" + text, engine.tokenizer().Decode(all));
  EXPECT_EQ(result.prompt_tokens, std::ssize(prompt));
  EXPECT_EQ(result.decode_steps, 19);  // the first token follows from the prompt's logits
  EXPECT_GT(result.decode_bytes, 19 * engine.plan().active_bytes);
}

TEST_F(SessionTest, CommonPrefixIsKeptAndChangesNothing) {
  Engine engine(kModel, Options());
  const auto first = Prompt(engine, "Click the button to open the dialog.");
  auto second = first;
  second.resize(5);
  for (const TokenId id : Prompt(engine, "Choose a colour.")) second.push_back(id);

  Session reused(&engine, {}), fresh(&engine, {});
  reused.Generate(first, Greedy(8), {});
  int64_t reported = 0;
  const GenerateResult with =
      reused.Generate(second, Greedy(12), {}, nullptr, [&](int64_t done, int64_t total) {
        EXPECT_LE(done, total);
        reported = done;
      });
  EXPECT_EQ(reported, with.prefill_tokens);
  const GenerateResult without = fresh.Generate(second, Greedy(12), {});
  EXPECT_EQ(with.prefill_tokens, std::ssize(second) - 5);
  EXPECT_EQ(without.prefill_tokens, std::ssize(second));
  EXPECT_EQ(with.tokens, without.tokens);

  // What was generated is in the cache, too (all but the last token), and the same prompt again
  // computes its last token only.
  auto longer = second;
  longer.insert(longer.end(), with.tokens.begin(), with.tokens.end());
  EXPECT_EQ(reused.Generate(longer, Greedy(1), {}).prefill_tokens, 1);
  EXPECT_EQ(reused.Generate(longer, Greedy(1), {}).prefill_tokens, 1);
  reused.Reset();
  EXPECT_EQ(reused.Generate(longer, Greedy(1), {}).prefill_tokens, std::ssize(longer));
}

TEST_F(SessionTest, ChangedRoutingForgetsTheCache) {
  Engine engine(kModel, Options());
  const auto prompt = Prompt(engine, "Click the button to open the dialog.");
  Session session(&engine, {}), fresh(&engine, {});
  GenerateOptions options = Greedy(12);
  session.Generate(prompt, options, {});
  options.policy.k = 1;
  const GenerateResult result = session.Generate(prompt, options, {});
  EXPECT_EQ(result.prefill_tokens, std::ssize(prompt));
  const GenerateResult expected = fresh.Generate(prompt, options, {});
  EXPECT_EQ(result.tokens, expected.tokens);
  EXPECT_LT(result.decode_bytes, 11 * engine.plan().active_bytes);
}

TEST_F(SessionTest, ChunkedPrefillGivesTheSameAndReports) {
  Engine whole(kModel, Options()), chunked(kModel, Options(7));
  const auto prompt = Prompt(whole, "In the dialog, choose the colour of the text and click OK.");
  ASSERT_GT(prompt.size(), 14u);
  Session a(&whole, {}), b(&chunked, {});
  std::vector<int64_t> reports;
  const auto on_prefill = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, std::ssize(prompt));
    reports.push_back(done);
  };
  const auto expected = a.Generate(prompt, Greedy(12), {}).tokens;
  EXPECT_EQ(b.Generate(prompt, Greedy(12), {}, nullptr, on_prefill).tokens, expected);
  // Before the first layer and after each one, step by step.
  const auto per_step = static_cast<size_t>(chunked.config().n_layers) + 1;
  ASSERT_EQ(reports.size(), (prompt.size() + 6) / 7 * per_step);
  EXPECT_TRUE(std::is_sorted(reports.begin(), reports.end()));
  EXPECT_EQ(reports[0], 0);
  EXPECT_GT(reports[per_step - 2], 0);
  EXPECT_LT(reports[per_step - 2], 7);
  EXPECT_EQ(reports[per_step - 1], 7);
  EXPECT_EQ(reports[2 * per_step - 1], 14);
  EXPECT_EQ(reports.back(), std::ssize(prompt));
}

TEST_F(SessionTest, StopStringEndsAndIsNotPrinted) {
  Engine engine(kModel, Options());
  Session session(&engine, {});
  const auto prompt = Prompt(engine, "The document");
  std::string plain, stopped;
  session.Generate(prompt, Greedy(30), [&](std::string_view t) { plain += t; });
  ASSERT_GT(plain.size(), 12u);
  GenerateOptions options = Greedy(30);
  options.stop = {"never there", plain.substr(8, 4)};
  const GenerateResult result =
      session.Generate(prompt, options, [&](std::string_view t) { stopped += t; });
  EXPECT_EQ(result.finish, FinishReason::kStop);
  EXPECT_EQ(stopped, plain.substr(0, plain.find(plain.substr(8, 4))));
  EXPECT_LT(result.tokens.size(), 30u);
  // Text held back because a stop string may begin there comes out at the end.
  options.stop = {plain.substr(plain.size() - 3) + "\x01"};
  stopped.clear();
  session.Generate(prompt, options, [&](std::string_view t) { stopped += t; });
  EXPECT_EQ(stopped, plain);
}

TEST_F(SessionTest, StopTokensEndUnlessIgnored) {
  Engine engine(kModel, Options());
  Session session(&engine, {});
  const auto prompt = Prompt(engine, "The document");
  const auto tokens = session.Generate(prompt, Greedy(10), {}).tokens;
  const auto end = std::find(tokens.begin(), tokens.end(), tokens[6]);
  GenerateOptions options = Greedy(10);
  options.stop_tokens = {tokens[6]};
  EXPECT_EQ(session.Generate(prompt, options, {}).tokens, tokens);
  options.ignore_eos = false;
  const GenerateResult result = session.Generate(prompt, options, {});
  EXPECT_EQ(result.finish, FinishReason::kEos);
  EXPECT_EQ(result.tokens, std::vector<TokenId>(tokens.begin(), end));
}

TEST_F(SessionTest, ContextFullAfterTheLastPosition) {
  Engine engine(kModel, Options());
  Session session(&engine, {.context = 10});
  const auto prompt = Prompt(engine, "The document");
  ASSERT_EQ(session.context(), 10);
  GenerateOptions options = Greedy(-1);
  const GenerateResult result = session.Generate(prompt, options, {});
  EXPECT_EQ(result.finish, FinishReason::kContextFull);
  // The token after the last position needs none.
  EXPECT_EQ(std::ssize(result.tokens), 10 - std::ssize(prompt) + 1);
  // A prompt that fills the context gives one token.
  std::vector<TokenId> full = prompt;
  full.resize(10, 100);
  EXPECT_EQ(session.Generate(full, options, {}).tokens.size(), 1u);
}

TEST_F(SessionTest, CancelBetweenSteps) {
  Engine engine(kModel, Options(4));
  Session session(&engine, {});
  const auto prompt = Prompt(engine, "Click the button to open the dialog.");
  std::atomic<bool> cancel = true;
  GenerateResult result = session.Generate(prompt, Greedy(5), {}, &cancel);
  EXPECT_EQ(result.finish, FinishReason::kCancelled);
  EXPECT_EQ(result.prefill_tokens, 0);
  cancel = false;
  result = session.Generate(prompt, Greedy(5), {}, &cancel,
                            [&](int64_t done, int64_t) { cancel = done >= 8; });
  EXPECT_EQ(result.prefill_tokens, 8);
  EXPECT_TRUE(result.tokens.empty());
  cancel = false;
  int n_pieces = 0;
  result = session.Generate(
      prompt, Greedy(50), [&](std::string_view) { cancel = ++n_pieces == 3; }, &cancel);
  EXPECT_EQ(result.finish, FinishReason::kCancelled);
  EXPECT_LT(result.tokens.size(), 20u);
  // A cancelled session goes on as if nothing had been.
  Session fresh(&engine, {});
  EXPECT_EQ(session.Generate(prompt, Greedy(8), {}).tokens,
            fresh.Generate(prompt, Greedy(8), {}).tokens);
}

TEST_F(SessionTest, NoTokensOnlyReadsThePrompt) {
  Engine engine(kModel, Options());
  Session session(&engine, {});
  const auto prompt = Prompt(engine, "The document");
  const GenerateResult result = session.Generate(prompt, Greedy(0), {});
  EXPECT_EQ(result.finish, FinishReason::kLength);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(result.prefill_tokens, std::ssize(prompt));
}

TEST_F(SessionTest, BadPromptsAndOptionsAreRefused) {
  Engine engine(kModel, Options());
  Session session(&engine, {.context = 8});
  const auto has = [&](const std::vector<TokenId>& prompt, const std::string& text,
                       const GenerateOptions& options) {
    const std::string error = ErrorOf(session, prompt, options);
    EXPECT_NE(error.find(text), std::string::npos) << error;
  };
  has({}, "at least 1 token", Greedy(1));
  has({1, -1}, "expected token ids in 0..4095, found -1", Greedy(1));
  has({1, 4096}, "found 4096", Greedy(1));
  has(std::vector<TokenId>(9, 1), "expected at most 8 tokens (the context), found 9", Greedy(1));
  GenerateOptions options = Greedy(1);
  options.policy.k = 4;
  has({1}, "k", options);
  EXPECT_THROW(Session(&engine, {.context = 513}), Error);
  EXPECT_THROW(Session(&engine, {.context = -1}), Error);
}

TEST_F(SessionTest, SameSeedSameTokens) {
  Engine engine(kModel, Options());
  Session session(&engine, {});
  const auto prompt = Prompt(engine, "The document");
  GenerateOptions options = Greedy(12);
  options.sampler = {.temperature = 1, .seed = 5};
  const auto first = session.Generate(prompt, options, {}).tokens;
  EXPECT_EQ(session.Generate(prompt, options, {}).tokens, first);
  options.sampler.seed = 6;
  EXPECT_NE(session.Generate(prompt, options, {}).tokens, first);
}

}  // namespace
}  // namespace mixtral
