// SPDX-License-Identifier: Apache-2.0
// Members of the family that differ in more than size, end to end through every kind of file: a
// sliding window where it counts and where it is bogus, very many experts, experts of several types
// in one layer. Exact mode is compared with the readable reference.
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "reference/reference_model.h"
#include "support/harness.h"
#include "support/model_files.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace mixtral::testing {
namespace {

// Float32 sums in another order: what that may cost for each unit of the logits' deviation (3 where
// the output matrix is drawn for it, more where it is the embedding).
constexpr double kTolerance = 1e-4 / 3;
constexpr const char* kKinds[] = {"hf", "native", "pth", "m.gguf"};

void WriteAllKinds(const TinyModel& model, const TempDir& dir) {
  WriteHuggingFace(model, dir / "hf", DType::kF32);
  WriteMistral(model, dir / "native", DType::kF32);
  WriteTorch(model, dir / "pth", DType::kF32, TorchLayout::kPlain);
  WriteGguf(model, dir / "m.gguf");
}

HarnessOptions Exact() {
  HarnessOptions options;
  options.mode = ComputeMode::kExact;
  options.kv_dtype = DType::kF32;
  return options;
}

double Deviation(std::span<const float> values) {
  double squares = 0;
  for (const float value : values) squares += double{value} * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

void ExpectLikeReference(const std::string& path, std::span<const int32_t> tokens) {
  SCOPED_TRACE(path);
  Harness harness(path, Exact());
  const ReferenceOutput want =
      ReferenceModel(harness.checkpoint(), harness.config()).Forward(tokens);
  EXPECT_LT(MaxAbsDifference(harness.Run(tokens), want.logits),
            kTolerance * Deviation(want.logits));
}

void WriteJson(const std::string& path, const Json& json) {
  const std::string text = json.Dump();
  WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

/// Fast mode: the whole prompt at once and one token at a time.
void ExpectOnePass(const std::string& path, std::span<const int32_t> tokens) {
  SCOPED_TRACE(path);
  Harness harness(path);
  const int one = 1;
  EXPECT_TRUE(SameBits(harness.Run(tokens), harness.Run(tokens, {&one, 1})));
}

TEST(Families, AWindowOfADenseModelIsHonoured) {
  ModelConfig config = TinyConfig();
  config.n_experts = config.experts_per_token = 0;
  config.sliding_window = 5;
  const TempDir dir;
  WriteAllKinds(MakeTinyModel(config, 31), dir);
  config.sliding_window = 0;
  WriteHuggingFace(MakeTinyModel(config, 31), dir / "without", DType::kF32);
  const std::vector<int32_t> tokens = RandomTokens(40, config.vocab_size, 3);
  const std::vector<float> without = Harness(dir / "without", Exact()).Run(tokens);
  for (const char* kind : kKinds) {
    ExpectLikeReference(dir / kind, tokens);
    ExpectOnePass(dir / kind, tokens);
    Harness harness(dir / kind, Exact());
    EXPECT_EQ(harness.config().sliding_window, 5);
    EXPECT_TRUE(harness.notices().empty());
    const std::vector<float> logits = harness.Run(tokens);
    const auto inside = static_cast<size_t>(5 * config.vocab_size);  // before it bites
    EXPECT_TRUE(SameBits(std::span(logits).first(inside), std::span(without).first(inside)));
    EXPECT_GT(MaxAbsDifference(logits, without), 0.1);
  }
}

/// A window in every cache type, page size and way to run a prompt that is many windows long.
class WindowPaths : public ::testing::TestWithParam<std::tuple<DType, int, int>> {};

TEST_P(WindowPaths, NothingBeyondTheWindowIsSeen) {
  const auto& [kv_dtype, page, step] = GetParam();
  ModelConfig config = TinyConfig();
  config.n_experts = config.experts_per_token = 0;
  config.sliding_window = 9;
  config.n_layers = 1;  // so that a position reaches back no further than the window
  const TempDir dir;
  WriteHuggingFace(MakeTinyModel(config, 37), dir / "m", DType::kF32);
  HarnessOptions options = Exact();
  options.kv_dtype = kv_dtype;
  options.page_positions = page;
  Harness harness(dir / "m", options);
  std::vector<int32_t> tokens = RandomTokens(100, config.vocab_size, 9);
  const std::vector<float> logits = harness.Run(tokens, {&step, 1});
  const ReferenceOutput want =
      ReferenceModel(harness.checkpoint(), harness.config()).Forward(tokens);
  const double tolerance = kv_dtype == DType::kF32 ? kTolerance : 5e-3;
  EXPECT_LT(MaxAbsDifference(logits, want.logits), tolerance * Deviation(want.logits));
  // Other tokens before the window change nothing, not one bit; one inside it does.
  const auto last_row = [&](const std::vector<float>& all) {
    return std::span(all).last(static_cast<size_t>(config.vocab_size));
  };
  std::vector<int32_t> before = tokens, inside = tokens;
  for (size_t i = 0; i < tokens.size() - 9; ++i) before[i] = (before[i] + 1) % config.vocab_size;
  inside[tokens.size() - 9] = (inside[tokens.size() - 9] + 1) % config.vocab_size;
  EXPECT_TRUE(SameBits(last_row(harness.Run(before, {&step, 1})), last_row(logits)));
  EXPECT_FALSE(SameBits(last_row(harness.Run(inside, {&step, 1})), last_row(logits)));
}

std::string PathName(const ::testing::TestParamInfo<WindowPaths::ParamType>& info) {
  const auto& [kv_dtype, page, step] = info.param;
  return std::string(Name(kv_dtype)) + "_pages_" + std::to_string(page) + "_steps_" +
         std::to_string(step);
}

INSTANTIATE_TEST_SUITE_P(All, WindowPaths,
                         ::testing::Combine(::testing::Values(DType::kF32, DType::kF16),
                                            ::testing::Values(64, 128),
                                            ::testing::Values(1, 7, 100)),
                         PathName);

TEST(Families, LlamaIsADenseMistralWithoutAWindow) {
  ModelConfig config = TinyConfig();
  config.n_experts = config.experts_per_token = 0;
  config.rope_theta = 1e4f;
  const TempDir dir;
  WriteHuggingFace(MakeTinyModel(config, 35), dir / "hf", DType::kF16);
  const std::vector<int32_t> tokens = RandomTokens(30, config.vocab_size, 7);
  const std::vector<float> want = Harness(dir / "hf").Run(tokens);
  ExpectLikeReference(dir / "hf", tokens);
  Json json = Json::Parse(ReadTextFile(dir / "hf/config.json"), "config.json");
  json.Set("model_type", "llama").Set("architectures", Json::Array().Push("LlamaForCausalLM"));
  json.Set("sliding_window", 3);
  WriteJson(dir / "hf/config.json", json);
  Harness llama(dir / "hf");
  EXPECT_EQ(llama.notices(), std::vector<std::string>{"sliding_window 3 ignored: Llama has none"});
  EXPECT_TRUE(SameBits(llama.Run(tokens), want));
  // transformers v5 keeps theta in rope_parameters.
  json.Set("rope_theta", Json())
      .Set("rope_parameters", Json::Object().Set("rope_type", "default").Set("rope_theta", 1e4));
  WriteJson(dir / "hf/config.json", json);
  EXPECT_TRUE(SameBits(Harness(dir / "hf").Run(tokens), want));
  json.Set("rope_parameters", Json::Object().Set("rope_type", "default").Set("rope_theta", 5e4));
  WriteJson(dir / "hf/config.json", json);
  EXPECT_FALSE(SameBits(Harness(dir / "hf").Run(tokens), want));
}

TEST(Families, AWindowOfAMixtralIsIgnoredWithANotice) {
  ModelConfig config = TinyConfig();
  const TempDir dir;
  WriteHuggingFace(MakeTinyModel(config, 32), dir / "without", DType::kF32);
  config.sliding_window = 5;
  WriteAllKinds(MakeTinyModel(config, 32), dir);
  const std::vector<int32_t> tokens = RandomTokens(40, config.vocab_size, 4);
  const std::vector<float> without = Harness(dir / "without").Run(tokens);
  for (const char* kind : kKinds) {
    SCOPED_TRACE(kind);
    Harness harness(dir / kind);
    ASSERT_EQ(harness.notices().size(), 1u);
    EXPECT_TRUE(harness.notices()[0].ends_with("sliding_window 5 ignored: Mixtral has none"))
        << harness.notices()[0];
    EXPECT_TRUE(SameBits(harness.Run(tokens), without));
  }
}

TEST(Families, ExpertsOfOneLayerMayDifferInType) {
  ModelConfig config = TinyConfig();
  config.ffn_dim = 64;  // whole blocks of 32
  const TempDir dir;
  const std::vector<std::pair<std::string, DType>> types = {
      {"blk.0.ffn_gate.0.weight", DType::kQ8_0}, {"blk.0.ffn_gate.1.weight", DType::kF16},
      {"blk.0.ffn_gate.2.weight", DType::kF32},  {"blk.0.ffn_up.0.weight", DType::kQ4_0},
      {"blk.0.ffn_up.3.weight", DType::kQ8_0},   {"blk.1.ffn_down.0.weight", DType::kQ8_0},
      {"blk.1.ffn_down.1.weight", DType::kQ4_0}, {"blk.1.ffn_down.3.weight", DType::kF16}};
  WriteGguf(MakeTinyModel(config, 33), dir / "m.gguf",
            {.dtype = DType::kBF16,
             .experts = ExpertLayout::kSplit,
             .order = TensorOrder::kScattered,
             .types = types});
  const std::vector<int32_t> tokens = RandomTokens(40, config.vocab_size, 5);
  ExpectLikeReference(dir / "m.gguf", tokens);
  ExpectOnePass(dir / "m.gguf", tokens);
}

class EveryType : public ::testing::TestWithParam<int> {
 protected:
  void Check(const ModelConfig& config) {
    const TempDir dir;
    WriteGguf(MakeTinyModel(config, 36), dir / "m.gguf",
              {.dtype = static_cast<DType>(GetParam()), .vocabulary = false});
    const std::vector<int32_t> tokens = RandomTokens(20, config.vocab_size, 8);
    ExpectLikeReference(dir / "m.gguf", tokens);
    ExpectOnePass(dir / "m.gguf", tokens);
  }
  static ModelConfig Small() {
    ModelConfig config = TinyConfig256();
    config.n_layers = 1;
    config.vocab_size = 64;
    return config;
  }
  static ModelConfig SmallDense(int window) {
    ModelConfig config = Small();
    config.n_experts = config.experts_per_token = 0;
    config.sliding_window = window;
    return config;
  }
};

TEST_P(EveryType, Mixtral) { Check(Small()); }
TEST_P(EveryType, DenseMistral) { Check(SmallDense(7)); }
TEST_P(EveryType, Llama) { Check(SmallDense(0)); }
TEST_P(EveryType, Tied) {
  ModelConfig config = Small();
  config.tied_embeddings = true;
  Check(config);
}

INSTANTIATE_TEST_SUITE_P(Types, EveryType, ::testing::Range(0, kNumMatrixDTypes),
                         [](const auto& param) {
                           return std::string(Name(static_cast<DType>(param.param)));
                         });

class ManyExperts : public ::testing::TestWithParam<std::pair<int, int>> {};

TEST_P(ManyExperts, AreRoutedAsTheReferenceDoes) {
  ModelConfig config = TinyConfig();
  config.dim = config.ffn_dim = 16;
  config.vocab_size = 64;
  std::tie(config.n_experts, config.experts_per_token) = GetParam();
  const TinyModel model = MakeTinyModel(config, 34);
  const TempDir dir;
  WriteAllKinds(model, dir);
  WriteHuggingFace(model, dir / "fused", DType::kF32, 1, {0, 1});
  const std::vector<int32_t> tokens = RandomTokens(40, config.vocab_size, 6);
  ExpectLikeReference(dir / "fused", tokens);
  ExpectOnePass(dir / "fused", tokens);
  const std::vector<float> want = Harness(dir / "fused").Run(tokens);
  for (const char* kind : kKinds)
    EXPECT_TRUE(SameBits(Harness(dir / kind).Run(tokens), want)) << kind;
}

INSTANTIATE_TEST_SUITE_P(Counts, ManyExperts,
                         ::testing::Values(std::pair(256, 8), std::pair(256, 1), std::pair(64, 64),
                                           std::pair(1, 1)),
                         [](const auto& param) {
                           return "experts_" + std::to_string(param.param.first) + "_top_" +
                                  std::to_string(param.param.second);
                         });

}  // namespace
}  // namespace mixtral::testing
