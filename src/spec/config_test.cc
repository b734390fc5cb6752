// SPDX-License-Identifier: Apache-2.0
// The three config readers, the ranges of Validate and the exact parameter counts.
#include "spec/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/rng.h"

namespace mixtral {
namespace {

/// "CODE: text" of the Error that fn throws; "" when it throws none.
template <class Fn>
std::string ErrorOf(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.what();
  }
  return "";
}

constexpr std::string_view kMixtral = R"({
  "model_type": "mixtral", "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96,
  "max_position_embeddings": 4096, "num_attention_heads": 8, "num_experts_per_tok": 2,
  "num_hidden_layers": 3, "num_key_value_heads": 2, "num_local_experts": 4, "rms_norm_eps": 1e-05,
  "rope_theta": 5000.0, "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 512})";
constexpr std::string_view kNative = R"({
  "dim": 64, "n_layers": 3, "head_dim": 16, "hidden_dim": 96, "n_heads": 8, "n_kv_heads": 2,
  "norm_eps": 1e-05, "vocab_size": 512, "moe": {"num_experts": 4, "num_experts_per_tok": 2}})";
constexpr std::string_view kGguf = R"({
  "general.architecture": "llama", "llama.block_count": 3, "llama.context_length": 4096,
  "llama.embedding_length": 64, "llama.feed_forward_length": 96, "llama.attention.head_count": 8,
  "llama.attention.head_count_kv": 2, "llama.attention.layer_norm_rms_epsilon": 1e-05,
  "llama.rope.dimension_count": 8, "llama.rope.freq_base": 1000000.0, "llama.vocab_size": 512,
  "llama.expert_count": 4, "llama.expert_used_count": 2})";

using Reader = ParsedConfig (*)(const Json&);

/// base with one member replaced (or added); value "-" takes it out.
Json Edited(std::string_view base, std::string_view key, std::string_view value) {
  const Json old = Json::Parse(base, "BASE");
  Json edited = Json::Object();
  for (const std::string& name : old.Keys())
    if (name != key) edited.Set(name, old.At(name));
  if (value != "-") edited.Set(key, Json::Parse(value, "VALUE"));
  return edited;
}

ModelConfig Read(Reader reader, std::string_view base, std::string_view key = "x",
                 std::string_view value = "-") {
  return reader(Edited(base, key, value)).config;
}

TEST(ConfigTest, ReadsEveryFieldOfHuggingFace) {
  const ParsedConfig parsed = ConfigFromHuggingFace(Json::Parse(kMixtral, "BASE"));
  const ModelConfig& c = parsed.config;
  EXPECT_EQ(c.n_layers, 3);
  EXPECT_EQ(c.dim, 64);
  EXPECT_EQ(c.ffn_dim, 96);
  EXPECT_EQ(c.n_heads, 8);
  EXPECT_EQ(c.n_kv_heads, 2);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.vocab_size, 512);
  EXPECT_EQ(c.n_experts, 4);
  EXPECT_EQ(c.experts_per_token, 2);
  EXPECT_EQ(c.max_context, 4096);
  EXPECT_EQ(c.sliding_window, 0);
  EXPECT_EQ(c.rope_theta, 5000.0f);
  EXPECT_EQ(c.norm_eps, 1e-5f);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_TRUE(parsed.notices.empty());
}

TEST(ConfigTest, TakesDocumentedDefaultsOfHuggingFace) {
  const auto read = [](std::string_view key, std::string_view value) {
    return Read(ConfigFromHuggingFace, kMixtral, key, value);
  };
  EXPECT_EQ(read("rope_theta", "-").rope_theta, 1e6f);
  EXPECT_EQ(read("rms_norm_eps", "-").norm_eps, 1e-5f);
  EXPECT_EQ(read("max_position_embeddings", "-").max_context, 131072);
  const std::string sixteen = Edited(kMixtral, "num_attention_heads", "16").Dump();
  const auto kv_heads = [&](std::string_view value) {
    return Read(ConfigFromHuggingFace, sixteen, "num_key_value_heads", value).n_kv_heads;
  };
  EXPECT_EQ(kv_heads("-"), 8) << "absent: the class default";
  EXPECT_EQ(kv_heads("null"), 16) << "null: as many as heads";
  EXPECT_EQ(read("head_dim", "null").head_dim, 8);
  EXPECT_EQ(read("head_dim", "32").head_dim, 32);
  EXPECT_TRUE(read("tie_word_embeddings", "true").tied_embeddings);
  EXPECT_EQ(read("rope_parameters", R"({"rope_type":"default","rope_theta":7.0})").rope_theta,
            5000.0f);
  EXPECT_EQ(
      ConfigFromHuggingFace(Edited(kMixtral, "rope_theta", "-")
                                .Set("rope_parameters", Json::Object().Set("rope_theta", 7.0)))
          .config.rope_theta,
      7.0f);
}

TEST(ConfigTest, ReadsDenseModels) {
  ModelConfig c = Read(ConfigFromHuggingFace, kMixtral, "model_type", R"("llama")");
  EXPECT_EQ(c.n_experts, 0);
  EXPECT_EQ(c.experts_per_token, 0);
  const Json llama = Edited(kMixtral, "model_type", R"("llama")");
  EXPECT_EQ(Read(ConfigFromHuggingFace, llama.Dump(), "rope_theta", "-").rope_theta, 1e4f);
  EXPECT_EQ(Read(ConfigFromHuggingFace, llama.Dump(), "num_key_value_heads", "-").n_kv_heads, 8);
  EXPECT_EQ(Read(ConfigFromHuggingFace, llama.Dump(), "sliding_window", "7").sliding_window, 0);
  const Json mistral = Edited(kMixtral, "model_type", R"("mistral")");
  c = Read(ConfigFromHuggingFace, mistral.Dump(), "rope_theta", "-");
  EXPECT_EQ(c.rope_theta, 1e4f);
  EXPECT_EQ(c.sliding_window, 0) << "null: none";
  EXPECT_EQ(Read(ConfigFromHuggingFace, mistral.Dump(), "sliding_window", "-").sliding_window,
            4096);
  EXPECT_EQ(Read(ConfigFromHuggingFace, mistral.Dump(), "sliding_window", "77").sliding_window, 77);
}

TEST(ConfigTest, IgnoresASlidingWindowOfMixtralAndSaysSo) {
  const std::tuple<Reader, std::string_view, std::string_view> formats[] = {
      {ConfigFromHuggingFace, kMixtral, "sliding_window"},
      {ConfigFromMistral, kNative, "sliding_window"},
      {ConfigFromGguf, kGguf, "llama.attention.sliding_window"}};
  for (const auto& [reader, base, key] : formats) {
    const ParsedConfig parsed = reader(Edited(base, key, "4096"));
    EXPECT_EQ(parsed.config.sliding_window, 0);
    ASSERT_EQ(parsed.notices.size(), 1u);
    EXPECT_NE(parsed.notices[0].find("4096 ignored: Mixtral has none"), std::string::npos);
  }
}

TEST(ConfigTest, ReadsMistralParams) {
  const ModelConfig c = Read(ConfigFromMistral, kNative);
  EXPECT_EQ(c.n_layers, 3);
  EXPECT_EQ(c.dim, 64);
  EXPECT_EQ(c.ffn_dim, 96);
  EXPECT_EQ(c.n_heads, 8);
  EXPECT_EQ(c.n_kv_heads, 2);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.vocab_size, 512);
  EXPECT_EQ(c.n_experts, 4);
  EXPECT_EQ(c.experts_per_token, 2);
  EXPECT_EQ(c.max_context, 32768);
  EXPECT_EQ(c.rope_theta, 1e6f);
  EXPECT_EQ(c.norm_eps, 1e-5f);
  EXPECT_EQ(Read(ConfigFromMistral, kNative, "vocab_size", "-1").vocab_size, 0);
  EXPECT_EQ(Read(ConfigFromMistral, kNative, "vocab_size", "-").vocab_size, 0);
  EXPECT_EQ(Read(ConfigFromMistral, kNative, "rope_theta", "10000.0").rope_theta, 1e4f);
  const Json dense = Edited(kNative, "moe", "-");
  const ModelConfig d = Read(ConfigFromMistral, dense.Dump(), "sliding_window", "4096");
  EXPECT_EQ(d.n_experts, 0);
  EXPECT_EQ(d.experts_per_token, 0);
  EXPECT_EQ(d.sliding_window, 4096);
}

TEST(ConfigTest, ReadsGgufMetadata) {
  const ModelConfig c = Read(ConfigFromGguf, kGguf);
  EXPECT_EQ(c.n_layers, 3);
  EXPECT_EQ(c.dim, 64);
  EXPECT_EQ(c.ffn_dim, 96);
  EXPECT_EQ(c.n_heads, 8);
  EXPECT_EQ(c.n_kv_heads, 2);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.vocab_size, 512);
  EXPECT_EQ(c.n_experts, 4);
  EXPECT_EQ(c.experts_per_token, 2);
  EXPECT_EQ(c.max_context, 4096);
  EXPECT_EQ(c.rope_theta, 1e6f);
  EXPECT_EQ(c.norm_eps, 1e-5f);
  EXPECT_EQ(Read(ConfigFromGguf, kGguf, "llama.rope.dimension_count", "32").head_dim, 32);
  EXPECT_EQ(Read(ConfigFromGguf, kGguf, "llama.rope.dimension_count", "-").head_dim, 8);
  EXPECT_EQ(Read(ConfigFromGguf, kGguf, "llama.rope.freq_base", "-").rope_theta, 1e4f);
  EXPECT_EQ(Read(ConfigFromGguf, kGguf, "llama.vocab_size", "-").vocab_size, 0);
  EXPECT_EQ(Read(ConfigFromGguf, kGguf, "llama.attention.head_count_kv", "-").n_kv_heads, 8);
  const ModelConfig dense = Read(ConfigFromGguf, kGguf, "llama.expert_count", "-");
  EXPECT_EQ(dense.n_experts, 0);
  EXPECT_EQ(dense.experts_per_token, 0);
}

TEST(ConfigTest, ParamsOfTheFirstReleaseHaveHuggingFacesKeys) {
  Json params = Json::Parse(R"({"hidden_size":64,"num_hidden_layers":3,"num_attention_heads":8,
    "num_key_value_heads":2,"intermediate_size":96,"vocab_size":512,"rms_norm_eps":1e-5,
    "rope_theta":1000000,"num_local_experts":8,"num_experts_per_tok":2,"sliding_window":"4096",
    "max_position_embeddings":32768})",
                            "params.json");
  const ParsedConfig parsed = ConfigFromMistral(params);
  EXPECT_EQ(parsed.config.dim, 64);
  EXPECT_EQ(parsed.config.n_experts, 8);
  EXPECT_EQ(parsed.config.sliding_window, 0);
  ASSERT_EQ(parsed.notices.size(), 1u);
  EXPECT_EQ(parsed.notices[0], "sliding_window 4096 ignored: Mixtral has none");
  params.Set("num_local_experts", Json());
  EXPECT_EQ(ConfigFromMistral(params).config.sliding_window, 4096) << "a dense Mistral";
  params.Set("sliding_window", "4k");
  EXPECT_THROW(ConfigFromMistral(params), Error);
}

struct Refusal {
  Reader reader;
  std::string_view base, key, value, message;
};

constexpr Refusal kRefusals[] = {
    {ConfigFromHuggingFace, kMixtral, "model_type", R"("qwen2_moe")",
     "unsupported: $.model_type: expected mixtral, mistral or llama, found qwen2_moe"},
    {ConfigFromHuggingFace, kMixtral, "model_type", "-", "$.model_type: expected a value"},
    {ConfigFromHuggingFace, kMixtral, "hidden_act", R"("gelu")",
     "unsupported: $.hidden_act: expected silu, found gelu"},
    {ConfigFromHuggingFace, kMixtral, "attention_bias", "true", "unsupported: $.attention_bias"},
    {ConfigFromHuggingFace, kMixtral, "rope_scaling", R"({"type":"yarn","factor":4})",
     "unsupported: $.rope_scaling: expected null, found yarn"},
    {ConfigFromHuggingFace, kMixtral, "rope_parameters", R"({"rope_type":"linear"})",
     "unsupported: $.rope_parameters: expected null, found linear"},
    {ConfigFromHuggingFace, kMixtral, "num_experts_per_tok", "5",
     "corrupt: num_experts_per_tok: expected 1..4 (num_local_experts), found 5"},
    {ConfigFromHuggingFace, kMixtral, "num_experts_per_tok", "0", "expected 1..4"},
    {ConfigFromHuggingFace, kMixtral, "num_local_experts", "0",
     "num_local_experts: expected at least 1, found 0"},
    {ConfigFromHuggingFace, kMixtral, "hidden_size", "0", "hidden_size: expected 1..1048576"},
    {ConfigFromHuggingFace, kMixtral, "hidden_size", "99999999999", "$.hidden_size: expected"},
    {ConfigFromHuggingFace, kMixtral, "hidden_size", R"("64")", "$.hidden_size: expected"},
    {ConfigFromHuggingFace, kMixtral, "hidden_size", "60",
     "num_attention_heads: expected a divisor of 60 (hidden_size) when head_dim is not given, "
     "found "
     "8"},
    {ConfigFromHuggingFace, kMixtral, "num_attention_heads", "0",
     "num_attention_heads: expected 1..1048576, found 0"},
    {ConfigFromHuggingFace, kMixtral, "num_key_value_heads", "3",
     "num_key_value_heads: expected a divisor of 8 (num_attention_heads), found 3"},
    {ConfigFromHuggingFace, kMixtral, "head_dim", "7",
     "head_dim: expected an even number, found 7"},
    {ConfigFromHuggingFace, kMixtral, "vocab_size", "-", "$.vocab_size: expected a value"},
    {ConfigFromHuggingFace, kMixtral, "vocab_size", "0",
     "vocab_size: expected 1..1048576, found 0"},
    {ConfigFromHuggingFace, kMixtral, "num_hidden_layers", "1025",
     "num_hidden_layers: expected 1..1024, found 1025"},
    {ConfigFromHuggingFace, kMixtral, "rope_theta", "0",
     "rope_theta: expected a finite number above 0, found 0"},
    {ConfigFromHuggingFace, kMixtral, "rope_theta", "1e300", "that fits a 32-bit float"},
    {ConfigFromHuggingFace, kMixtral, "rms_norm_eps", "-1e-5", "rms_norm_eps: expected a number"},
    {ConfigFromMistral, kNative, "moe", R"({"num_experts":0,"num_experts_per_tok":2})",
     "corrupt: moe.num_experts: expected at least 1, found 0"},
    {ConfigFromMistral, kNative, "moe", R"({"num_experts":4,"num_experts_per_tok":5})",
     "moe.num_experts_per_tok: expected 1..4 (moe.num_experts), found 5"},
    {ConfigFromMistral, kNative, "moe", "{}", "$.moe.num_experts: expected a value"},
    {ConfigFromMistral, kNative, "hidden_dim", "-", "$.hidden_dim: expected a value"},
    {ConfigFromMistral, kNative, "vocab_size", "-2", "vocab_size: expected 0..1048576, found -2"},
    {ConfigFromMistral, kNative, "model_type", R"("mamba")", "unsupported: $.model_type"},
    {ConfigFromMistral, kNative, "vision_encoder", R"({"d":1})", "unsupported: $.vision_encoder"},
    {ConfigFromGguf, kGguf, "general.architecture", R"("qwen2moe")",
     "unsupported: general.architecture: expected llama (Mixtral, Mistral, Llama), found qwen2moe"},
    {ConfigFromGguf, kGguf, "general.architecture", "-",
     "$.general.architecture: expected a value"},
    {ConfigFromGguf, kGguf, "llama.rope.scaling.type", R"("yarn")",
     "unsupported: llama.rope.scaling.type: expected none, found yarn"},
    {ConfigFromGguf, kGguf, "llama.rope.scale_linear", "4.0",
     "unsupported: llama.rope.scale_linear"},
    {ConfigFromGguf, kGguf, "llama.attention.key_length", "16",
     "unsupported: llama.rope.dimension_count: expected 16 (the head's dimension), found 8"},
    {ConfigFromGguf, kGguf, "llama.expert_used_count", "5",
     "llama.expert_used_count: expected 1..4 (llama.expert_count), found 5"},
    {ConfigFromGguf, kGguf, "llama.expert_used_count", "-",
     "$.llama.expert_used_count: expected a value"},
    {ConfigFromGguf, kGguf, "llama.expert_shared_count", "2", "unsupported: "},
    {ConfigFromGguf, kGguf, "llama.expert_gating_func", "2", "unsupported: "},
    {ConfigFromGguf, kGguf, "llama.attention.head_count", "[8,8,8]", "expected an integer"},
    {ConfigFromGguf, kGguf, "llama.attention.layer_norm_rms_epsilon", "-", "expected a value"},
};

TEST(ConfigTest, RefusesWhatItCannotRunByKey) {
  for (const Refusal& refusal : kRefusals) {
    const std::string error =
        ErrorOf([&] { Read(refusal.reader, refusal.base, refusal.key, refusal.value); });
    EXPECT_NE(error.find(refusal.message), std::string::npos)
        << refusal.key << " = " << refusal.value << "\n  gave: " << error;
  }
}

ModelConfig Mixtral8x7B() {
  return {.n_layers = 32,
          .dim = 4096,
          .ffn_dim = 14336,
          .n_heads = 32,
          .n_kv_heads = 8,
          .head_dim = 128,
          .vocab_size = 32000,
          .n_experts = 8,
          .experts_per_token = 2,
          .max_context = 32768,
          .sliding_window = 0,
          .rope_theta = 1e6f,
          .norm_eps = 1e-5f,
          .tied_embeddings = false};
}

TEST(ConfigTest, CountsParametersExactly) {
  ModelConfig c = Mixtral8x7B();
  EXPECT_EQ(c.TotalParameters(), 46'702'792'704);
  EXPECT_EQ(c.ActiveParameters(), 12'879'925'248);
  c.tied_embeddings = true;
  EXPECT_EQ(c.TotalParameters(), 46'702'792'704 - 131'072'000);

  ModelConfig big = Mixtral8x7B();  // 8x22B
  big.n_layers = 56, big.dim = 6144, big.ffn_dim = 16384, big.n_heads = 48;
  EXPECT_EQ(big.TotalParameters(), 140'620'634'112);
  EXPECT_EQ(big.ActiveParameters(), 39'152'031'744);
  big.vocab_size = 32768;
  EXPECT_EQ(big.TotalParameters(), 140'630'071'296);
  EXPECT_EQ(big.ActiveParameters(), 39'161'468'928);

  ModelConfig dense = Mixtral8x7B();  // Mistral 7B
  dense.n_experts = dense.experts_per_token = 0;
  EXPECT_EQ(dense.TotalParameters(), 7'241'732'096);
  EXPECT_EQ(dense.ActiveParameters(), 7'241'732'096);
  dense.n_layers = 80, dense.dim = 8192, dense.ffn_dim = 28672, dense.n_heads = 64;
  EXPECT_EQ(dense.TotalParameters(), 68'976'648'192) << "Llama 2 70B";
}

TEST(ConfigTest, ValidateNamesTheField) {
  Mixtral8x7B().Validate();
  const auto error_with = [](auto member, auto value) {
    ModelConfig c = Mixtral8x7B();
    c.*member = value;
    return ErrorOf([&] { c.Validate(); });
  };
  EXPECT_EQ(error_with(&ModelConfig::experts_per_token, 9),
            "corrupt: experts_per_token: expected 1..8 (n_experts), found 9");
  EXPECT_EQ(error_with(&ModelConfig::n_experts, 0),
            "corrupt: experts_per_token: expected 0..0 (n_experts), found 2");
  EXPECT_EQ(error_with(&ModelConfig::vocab_size, 0),
            "corrupt: vocab_size: expected 1..1048576, found 0");
  EXPECT_EQ(error_with(&ModelConfig::n_heads, 16384),
            "corrupt: n_heads x head_dim: expected at most 1048576, found 2097152");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(error_with(&ModelConfig::norm_eps, nan).find("norm_eps: expected"), std::string::npos);
  EXPECT_NE(error_with(&ModelConfig::rope_theta, nan).find("rope_theta: "), std::string::npos);
  EXPECT_NE(error_with(&ModelConfig::rope_theta, HUGE_VALF).find("rope_theta: "),
            std::string::npos);
  int ModelConfig::*const positive[] = {&ModelConfig::n_layers,   &ModelConfig::dim,
                                        &ModelConfig::ffn_dim,    &ModelConfig::n_heads,
                                        &ModelConfig::head_dim,   &ModelConfig::n_kv_heads,
                                        &ModelConfig::vocab_size, &ModelConfig::max_context};
  for (const auto member : positive)
    for (const int value : {0, -1, INT_MIN, INT_MAX}) EXPECT_NE(error_with(member, value), "");
  for (const auto member : {&ModelConfig::sliding_window, &ModelConfig::n_experts})
    for (const int value : {-1, INT_MIN, INT_MAX}) EXPECT_NE(error_with(member, value), "");
}

TEST(ConfigTest, LargestConfigCountsWithoutOverflow) {
  ModelConfig c = Mixtral8x7B();
  c.n_layers = c.n_experts = c.experts_per_token = 1024;
  c.dim = c.ffn_dim = c.vocab_size = 1 << 20;
  c.n_heads = c.n_kv_heads = 8192;
  c.Validate();
  // 1024 layers x (4 D^2 + 2 D + 1024 D + 1024 x 3 D F) + 2 V D + D
  const __int128 d = 1 << 20;
  const __int128 expected = 1024 * (4 * d * d + 1026 * d + 3072 * d * d) + 2 * d * d + d;
  EXPECT_TRUE(expected == c.TotalParameters()) << c.TotalParameters();
}

TEST(ConfigTest, SurvivesMutations) {
  const std::pair<Reader, std::string_view> formats[] = {
      {ConfigFromHuggingFace, kMixtral}, {ConfigFromMistral, kNative}, {ConfigFromGguf, kGguf}};
  constexpr char kTelling[] = R"(0123456789-+.eE"{}[],:ntx)";
  for (const auto& format : formats) {
    const Reader reader = format.first;
    int refused = 0;
    for (uint64_t i = 0; i < 1000; ++i) {
      const CounterRng rng(11, i);
      std::string text(format.second);
      for (uint64_t change = 0; change < 3; ++change)
        text[rng.Bits(2 * change) % text.size()] =
            kTelling[rng.Bits(2 * change + 1) % (sizeof kTelling - 1)];
      const std::string error = ErrorOf([&] {
        ModelConfig config = reader(Json::Parse(text, "MUTATED")).config;
        if (config.vocab_size == 0) config.vocab_size = 1;  // the loader's to find
        config.Validate();
      });
      EXPECT_EQ(error.find("vocab_size: expected 1.."), std::string::npos);
      if (!error.empty()) ++refused;
    }
    EXPECT_GT(refused, 500);
  }
}

TEST(ConfigTest, ReadsAndRefusesTheFixtures) {
  const char* shared = std::getenv("MIXTRAL_SHARED");
  const std::string root = std::string(shared != nullptr ? shared : "../shared") + "/fixtures/";
  if (!std::filesystem::exists(root + "README.md")) GTEST_SKIP() << "no fixtures in " << root;
  const auto read = [&](const std::string& file) {
    return Json::Parse(ReadTextFile(root + file), file);
  };
  ModelConfig hf = ConfigFromHuggingFace(read("tiny-mixtral/hf-bf16/config.json")).config;
  const ModelConfig native = ConfigFromMistral(read("tiny-mixtral/native-bf16/params.json")).config;
  EXPECT_EQ(hf.TotalParameters(), native.TotalParameters());
  EXPECT_EQ(hf.TotalParameters(), 1081216 / 2) << "total_size of the f16 index";
  hf = ConfigFromHuggingFace(read("dense-mistral/hf-bf16/config.json")).config;
  EXPECT_EQ(hf.sliding_window, 4096);
  EXPECT_TRUE(
      ConfigFromHuggingFace(read("tied-mixtral/hf-f32/config.json")).config.tied_embeddings);
  EXPECT_NE(ErrorOf([&] {
              ConfigFromHuggingFace(read("malformed/cfg-topk-above-experts/config.json"));
            }).find("num_experts_per_tok: expected 1..4 (num_local_experts), found 5"),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] {
              ConfigFromMistral(read("malformed/native-zero-experts/params.json"));
            }).find("moe.num_experts: expected at least 1, found 0"),
            std::string::npos);
}

}  // namespace
}  // namespace mixtral
