// SPDX-License-Identifier: Apache-2.0
// The C interface: agrees with the C++ one, and every way to misuse it is an error code with a line
// of text.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "mixtral/mixtral.h"
#include "mixtral/mixtral_c.h"

namespace mixtral::api {
namespace {

constexpr const char* kModel = MIXTRAL_SOURCE_DIR "/models/tiny-multilingual-q8_0.gguf";
constexpr const char* kPrompt = "Para guardar el documento,";

void ExpectFailure(int status, int expected, const std::string& text) {
  EXPECT_EQ(status, expected) << mixtral_last_error();
  EXPECT_NE(std::string(mixtral_last_error()).find(text), std::string::npos)
      << mixtral_last_error();
}

class CApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(mixtral_open(kModel, nullptr, &model_), MIXTRAL_OK) << mixtral_last_error();
    ASSERT_EQ(mixtral_session_open(model_, 0, &session_), MIXTRAL_OK) << mixtral_last_error();
    prompt_ = Encode(kPrompt);
  }
  void TearDown() override {
    mixtral_session_close(session_);
    mixtral_close(model_);
  }

  std::vector<int32_t> Encode(const std::string& text) {
    size_t n = 0;
    EXPECT_EQ(mixtral_encode(model_, text.data(), text.size(), 1, nullptr, 0, &n), MIXTRAL_OK);
    std::vector<int32_t> ids(n);
    EXPECT_EQ(mixtral_encode(model_, text.data(), text.size(), 1, ids.data(), n, &n), MIXTRAL_OK);
    return ids;
  }
  static mixtral_generate_options Greedy(int32_t max_tokens) {
    mixtral_generate_options options;
    mixtral_generate_options_init(&options, sizeof(options));
    options.temperature = 0;
    options.max_tokens = max_tokens;
    return options;
  }
  int Generate(const mixtral_generate_options& options, mixtral_result* result = nullptr) {
    return mixtral_generate(session_, prompt_.data(), prompt_.size(), &options, result);
  }

  mixtral_model* model_ = nullptr;
  mixtral_session* session_ = nullptr;
  std::vector<int32_t> prompt_;
};

TEST_F(CApiTest, InfoIsTheModels) {
  mixtral_info info{};
  info.struct_size = sizeof(info);
  ASSERT_EQ(mixtral_get_info(model_, &info), MIXTRAL_OK);
  EXPECT_EQ(info.struct_size, sizeof(info));
  EXPECT_EQ(info.n_layers, 4);
  EXPECT_EQ(info.vocab_size, 4096);
  EXPECT_EQ(info.n_experts, 8);
  EXPECT_EQ(info.experts_per_token, 2);
  EXPECT_EQ(info.has_tokenizer, 1);
  EXPECT_EQ(info.max_context, 512);
  EXPECT_STREQ(mixtral_version(), std::string(Version()).c_str());
}

TEST_F(CApiTest, GeneratesWhatTheCppInterfaceGenerates) {
  mixtral_generate_options options;
  mixtral_generate_options_init(&options, sizeof(options));
  options.seed = 5;
  options.max_tokens = 10;
  std::string streamed;
  options.user = &streamed;
  options.on_text = [](void* user, const char* text, size_t n) {
    static_cast<std::string*>(user)->append(text, n);
  };
  mixtral_result result{};
  result.struct_size = sizeof(result);
  ASSERT_EQ(Generate(options, &result), MIXTRAL_OK) << mixtral_last_error();

  Model model(kModel);
  Session session(model);
  GenerateOptions same;
  same.sampling.seed = 5;
  same.max_tokens = 10;
  const Generation expected = session.Generate(model.Encode(kPrompt), same);
  size_t n = 0;
  const int32_t* ids = mixtral_generated(session_, &n);
  EXPECT_EQ(std::vector<Token>(ids, ids + n), expected.tokens);
  EXPECT_EQ(streamed, expected.text);
  EXPECT_EQ(result.finish, MIXTRAL_FINISH_LENGTH);
  EXPECT_EQ(result.generated_tokens, 10);
  EXPECT_EQ(result.prompt_tokens, std::ssize(prompt_));
  EXPECT_EQ(result.prefill_tokens, std::ssize(prompt_));
}

TEST_F(CApiTest, DecodesIntoABufferThatMayBeTooSmall) {
  size_t n = 0;
  ASSERT_EQ(mixtral_decode(model_, prompt_.data(), prompt_.size(), nullptr, 0, &n), MIXTRAL_OK);
  EXPECT_EQ(n, std::strlen(kPrompt));
  std::string text(n, '#');
  EXPECT_EQ(mixtral_decode(model_, prompt_.data(), prompt_.size(), text.data(), n - 1, &n),
            MIXTRAL_TOO_SMALL);
  EXPECT_EQ(n, std::strlen(kPrompt));
  EXPECT_EQ(text, std::string(n, '#'));
  EXPECT_EQ(mixtral_decode(model_, prompt_.data(), prompt_.size(), text.data(), n, &n), MIXTRAL_OK);
  EXPECT_EQ(text, kPrompt);
}

TEST_F(CApiTest, LogitsAndRoutingReachTheCallbacks) {
  struct Seen {
    int n_positions = 0, n_routed = 0, n_banned = 0;
  } seen;
  const int32_t ban[] = {2};
  mixtral_policy policy{};
  policy.struct_size = sizeof(policy);
  policy.ban = ban;
  policy.n_ban = 1;
  const int status = mixtral_logits(
      model_, prompt_.data(), prompt_.size(), &policy,
      [](void* user, int64_t position, const float* logits, size_t n) {
        EXPECT_EQ(position, static_cast<Seen*>(user)->n_positions++);
        EXPECT_EQ(n, 4096u);
        EXPECT_NE(logits[0], logits[1]);
      },
      [](void* user, const mixtral_routing* routing) {
        auto* s = static_cast<Seen*>(user);
        s->n_routed += routing->n_tokens;
        for (int i = 0; i < routing->n_tokens * routing->k; ++i)
          s->n_banned += routing->expert_ids[i] == 2;
      },
      &seen);
  ASSERT_EQ(status, MIXTRAL_OK) << mixtral_last_error();
  EXPECT_EQ(seen.n_positions, std::ssize(prompt_));
  EXPECT_EQ(seen.n_routed, 4 * std::ssize(prompt_));
  EXPECT_EQ(seen.n_banned, 0);
}

TEST_F(CApiTest, CancelWorksFromACallback) {
  mixtral_generate_options options = Greedy(50);
  options.user = session_;
  options.on_text = [](void* user, const char*, size_t) {
    mixtral_cancel(static_cast<mixtral_session*>(user));
  };
  mixtral_result result{};
  result.struct_size = sizeof(result);
  ASSERT_EQ(Generate(options, &result), MIXTRAL_OK);
  EXPECT_EQ(result.finish, MIXTRAL_FINISH_CANCELLED);
  EXPECT_LT(result.generated_tokens, 50);
}

TEST_F(CApiTest, StopTextsArriveWhole) {
  const char* const stop[] = {"~~", "e"};
  mixtral_generate_options options = Greedy(60);
  options.stop = stop;
  options.n_stop = 2;
  mixtral_result result{};
  result.struct_size = sizeof(result);
  ASSERT_EQ(Generate(options, &result), MIXTRAL_OK);
  EXPECT_EQ(result.finish, MIXTRAL_FINISH_STOP);
}

TEST_F(CApiTest, AnOlderProgramsShorterStructGetsTheDefaults) {
  // As if the header had ended before ignore_eos: what lies behind must not be read.
  mixtral_generate_options options;
  std::memset(&options, 0xff, sizeof(options));
  mixtral_generate_options_init(&options, offsetof(mixtral_generate_options, ignore_eos));
  EXPECT_EQ(options.n_stop, SIZE_MAX);  // nor written
  options.max_tokens = 2;
  EXPECT_EQ(Generate(options), MIXTRAL_OK) << mixtral_last_error();

  mixtral_info info;
  std::memset(&info, 0xff, sizeof(info));
  info.struct_size = offsetof(mixtral_info, vocab_size);
  EXPECT_EQ(mixtral_get_info(model_, &info), MIXTRAL_OK);
  EXPECT_EQ(info.dim, 256);
  EXPECT_EQ(info.vocab_size, -1);
}

TEST_F(CApiTest, AProgramOfTheFirstVersionSamplesAsBefore) {
  mixtral_generate_options options;
  mixtral_generate_options_init(&options, sizeof(options));
  options.seed = 3;
  options.max_tokens = 12;
  const auto tokens = [&] {
    EXPECT_EQ(Generate(options), MIXTRAL_OK) << mixtral_last_error();
    size_t n = 0;
    const int32_t* ids = mixtral_generated(session_, &n);
    return std::vector<int32_t>(ids, ids + n);
  };
  const auto plain = tokens();
  // The first header ended with user; what a newer one has behind it is not read.
  std::memset(&options.typical_p, 0xff,
              sizeof(options) - offsetof(mixtral_generate_options, typical_p));
  options.struct_size = offsetof(mixtral_generate_options, typical_p);
  EXPECT_EQ(tokens(), plain);
}

TEST_F(CApiTest, PenaltiesBiasAndMinTokensReachTheSampler) {
  mixtral_generate_options options = Greedy(12);
  options.frequency_penalty = 1.5f;
  options.presence_penalty = 0.5f;
  options.min_tokens = 5;
  const mixtral_logit_bias bias[] = {{2, 100}, {17, -5}};
  options.logit_bias = bias;
  options.n_logit_bias = 2;
  ASSERT_EQ(Generate(options), MIXTRAL_OK) << mixtral_last_error();
  size_t n = 0;
  const int32_t* ids = mixtral_generated(session_, &n);
  ASSERT_EQ(n, 5u);  // then the end, which is all but certain

  Model model(kModel);
  Session session(model);
  GenerateOptions same;
  same.sampling.temperature = 0;
  same.sampling.frequency_penalty = 1.5f;
  same.sampling.presence_penalty = 0.5f;
  same.sampling.min_tokens = 5;
  same.sampling.logit_bias = {{2, 100}, {17, -5}};
  EXPECT_EQ(session.Generate(model.Encode(kPrompt), same).tokens, std::vector<Token>(ids, ids + n));

  options.typical_p = 2;
  ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "typical_p");
  options.typical_p = 1;
  options.logit_bias = nullptr;
  ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "options.logit_bias");
}

TEST_F(CApiTest, RefusesStructsOfUnknownSize) {
  mixtral_generate_options options = Greedy(1);
  for (const size_t size : {size_t{0}, sizeof(options) + 8, SIZE_MAX}) {
    options.struct_size = size;
    ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "options.struct_size");
  }
  mixtral_result result{};
  ExpectFailure(Generate(Greedy(1), &result), MIXTRAL_INVALID_ARGUMENT, "result.struct_size");
  mixtral_info info{};
  ExpectFailure(mixtral_get_info(model_, &info), MIXTRAL_INVALID_ARGUMENT, "info.struct_size");
  mixtral_policy policy{};
  options = Greedy(1);
  options.policy = &policy;
  ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "policy.struct_size");
}

TEST_F(CApiTest, RefusesNullPointers) {
  constexpr int kBad = MIXTRAL_INVALID_ARGUMENT;
  size_t n = 0;
  mixtral_model* model = nullptr;
  mixtral_session* session = nullptr;
  mixtral_info info{};
  ExpectFailure(mixtral_open(nullptr, nullptr, &model), kBad, "path: expected a pointer");
  ExpectFailure(mixtral_open(kModel, nullptr, nullptr), kBad, "model");
  ExpectFailure(mixtral_get_info(nullptr, &info), kBad, "model");
  ExpectFailure(mixtral_get_info(model_, nullptr), kBad, "info");
  ExpectFailure(mixtral_encode(nullptr, "a", 1, 0, nullptr, 0, &n), kBad, "model");
  ExpectFailure(mixtral_encode(model_, nullptr, 1, 0, nullptr, 0, &n), kBad, "text");
  ExpectFailure(mixtral_encode(model_, "a", 1, 0, nullptr, 8, &n), kBad, "buffer");
  ExpectFailure(mixtral_encode(model_, "a", 1, 0, nullptr, 0, nullptr), kBad, "needed");
  ExpectFailure(mixtral_decode(model_, nullptr, 1, nullptr, 0, &n), kBad, "tokens");
  ExpectFailure(mixtral_logits(model_, prompt_.data(), 1, nullptr, nullptr, nullptr, nullptr), kBad,
                "on_logits");
  ExpectFailure(mixtral_session_open(nullptr, 0, &session), kBad, "model");
  ExpectFailure(mixtral_session_open(model_, 0, nullptr), kBad, "session");
  ExpectFailure(mixtral_generate(nullptr, prompt_.data(), 1, nullptr, nullptr), kBad, "session");
  ExpectFailure(mixtral_generate(session_, nullptr, 3, nullptr, nullptr), kBad, "tokens");
  EXPECT_EQ(mixtral_generated(nullptr, &n), nullptr);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(session, nullptr);
  mixtral_close(nullptr);
  mixtral_session_close(nullptr);
  mixtral_session_reset(nullptr);
  mixtral_cancel(nullptr);
  mixtral_generate_options_init(nullptr, 8);
}

TEST_F(CApiTest, RefusesBadValues) {
  mixtral_model* model = nullptr;
  ExpectFailure(mixtral_open("/nowhere/model.gguf", nullptr, &model), MIXTRAL_NOT_FOUND,
                "/nowhere/model.gguf");
  mixtral_model_options open{};
  open.struct_size = sizeof(open);
  open.compute = 9;
  ExpectFailure(mixtral_open(kModel, &open, &model), MIXTRAL_INVALID_ARGUMENT, "compute");
  mixtral_session* session = nullptr;
  ExpectFailure(mixtral_session_open(model_, -1, &session), MIXTRAL_INVALID_ARGUMENT, "context");

  mixtral_generate_options options = Greedy(1);
  options.top_p = 2;
  ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "top_p");
  options = Greedy(1);
  const char* const stop[] = {nullptr};
  options.stop = stop;
  options.n_stop = 1;
  ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "options.stop");
  mixtral_policy policy{};
  policy.struct_size = sizeof(policy);
  policy.n_bias = 8;
  options = Greedy(1);
  options.policy = &policy;
  ExpectFailure(Generate(options), MIXTRAL_INVALID_ARGUMENT, "policy.bias");
  EXPECT_EQ(mixtral_generate(session_, prompt_.data(), 0, nullptr, nullptr),
            MIXTRAL_INVALID_ARGUMENT);
}

TEST_F(CApiTest, TheLastErrorIsTheThreadsOwnAndCutToFit) {
  const std::string path(3000, 'x');
  mixtral_model* model = nullptr;
  EXPECT_NE(mixtral_open(path.c_str(), nullptr, &model), MIXTRAL_OK);
  const std::string mine = mixtral_last_error();
  EXPECT_EQ(mine.size(), 1023u);
  std::thread([] { EXPECT_STREQ(mixtral_last_error(), ""); }).join();
  EXPECT_EQ(mixtral_last_error(), mine);
}

TEST_F(CApiTest, AnExceptionOfACallbackStaysInside) {
  mixtral_generate_options options = Greedy(4);
  options.on_text = [](void*, const char*, size_t) { throw 42; };
  ExpectFailure(Generate(options), MIXTRAL_INTERNAL, "exception");
  EXPECT_EQ(Generate(Greedy(4)), MIXTRAL_OK);
}

}  // namespace
}  // namespace mixtral::api
