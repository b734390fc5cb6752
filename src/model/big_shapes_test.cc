// SPDX-License-Identifier: Apache-2.0
// Models of full size, by their shapes alone: every tensor is claimed and none is there, so that
// names, shape checks and sums meet the numbers of the real ones (and none overflows).
#include <gtest/gtest.h>

#include <string>

#include "model/fake_backend.h"
#include "model/fake_checkpoint.h"
#include "model/loader.h"
#include "model/plan.h"

namespace mixtral {
namespace {

using testing::FakeBackend;
using testing::FakeCheckpoint;

struct Size {
  int64_t n_layers, dim, ffn, q_rows, kv_rows, vocab, n_experts;
};
constexpr Size k8x7B = {32, 4096, 14336, 4096, 1024, 32000, 8};
constexpr Size k8x22B = {56, 6144, 16384, 6144, 1024, 32768, 8};
constexpr Size k70B = {80, 8192, 28672, 8192, 1024, 32000, 0};
constexpr Size k7B = {32, 4096, 14336, 4096, 1024, 32000, 0};

constexpr auto kHf = NamingScheme::kHuggingFace;

/// Everything outside the feed-forward part; names by the scheme, matrices of one type.
void ClaimCommon(FakeCheckpoint* file, NamingScheme scheme, const Size& s, DType dtype) {
  const auto claim = [&](TensorRole role, int layer, const std::vector<int64_t>& shape) {
    file->Claim(TensorName(scheme, role, layer), shape.size() == 1 ? DType::kF32 : dtype, shape);
  };
  claim(TensorRole::kEmbedding, 0, {s.vocab, s.dim});
  claim(TensorRole::kOutput, 0, {s.vocab, s.dim});
  claim(TensorRole::kFinalNorm, 0, {s.dim});
  for (int layer = 0; layer < s.n_layers; ++layer) {
    claim(TensorRole::kAttnNorm, layer, {s.dim});
    claim(TensorRole::kFfnNorm, layer, {s.dim});
    claim(TensorRole::kQ, layer, {s.q_rows, s.dim});
    claim(TensorRole::kK, layer, {s.kv_rows, s.dim});
    claim(TensorRole::kV, layer, {s.kv_rows, s.dim});
    claim(TensorRole::kO, layer, {s.dim, s.q_rows});
    if (s.n_experts > 0) claim(TensorRole::kRouter, layer, {s.n_experts, s.dim});
  }
}

/// One matrix per expert, or the dense layer's.
void ClaimSingle(FakeCheckpoint* file, NamingScheme scheme, const Size& s, DType dtype) {
  for (int layer = 0; layer < s.n_layers; ++layer)
    for (int e = s.n_experts > 0 ? 0 : -1; e < (s.n_experts > 0 ? s.n_experts : 0); ++e) {
      file->Claim(TensorName(scheme, TensorRole::kExpertGate, layer, e), dtype, {s.ffn, s.dim});
      file->Claim(TensorName(scheme, TensorRole::kExpertUp, layer, e), dtype, {s.ffn, s.dim});
      file->Claim(TensorName(scheme, TensorRole::kExpertDown, layer, e), dtype, {s.dim, s.ffn});
    }
}

Json HuggingFaceConfig(const Size& s, std::string_view type, int n_heads) {
  Json config = Json::Object();
  config.Set("model_type", type).Set("hidden_act", "silu").Set("hidden_size", s.dim);
  config.Set("intermediate_size", s.ffn).Set("max_position_embeddings", 32768);
  config.Set("num_attention_heads", n_heads).Set("num_key_value_heads", 8);
  config.Set("num_hidden_layers", s.n_layers).Set("rms_norm_eps", 1e-5);
  config.Set("vocab_size", s.vocab).Set("tie_word_embeddings", false);
  if (s.n_experts > 0) config.Set("num_local_experts", s.n_experts).Set("num_experts_per_tok", 2);
  return config;
}

struct Expected {
  int64_t parameters, active;
  uint64_t kv_per_position;
};

/// bytes_per_32: of 32 values of a matrix.
void ExpectPlan(const FakeCheckpoint& file, const Size& s, const Expected& want, int bytes_per_32) {
  FakeBackend backend;
  const LoadedModel model = LoadModel(file, &backend);
  EXPECT_TRUE(model.notices.empty());
  EXPECT_EQ(model.config.TotalParameters(), want.parameters);
  EXPECT_EQ(model.config.ActiveParameters(), want.active);
  const MemoryPlan plan = PlanMemory(file, model.config, DType::kF16);
  const auto norms = static_cast<uint64_t>((2 * s.n_layers + 1) * s.dim);
  const auto bytes = [&](int64_t parameters) {
    return (static_cast<uint64_t>(parameters) - norms) / 32 * static_cast<uint64_t>(bytes_per_32) +
           4 * norms;
  };
  EXPECT_EQ(plan.weight_bytes, bytes(want.parameters));
  EXPECT_EQ(plan.active_bytes, bytes(want.active - s.vocab * s.dim)) << "without the embedding";
  EXPECT_EQ(plan.kv_bytes_per_position, want.kv_per_position);
}

constexpr Expected kWant8x22B = {140'630'071'296, 39'161'468'928, 2 * 56 * 1024 * 2};

TEST(BigShapes, Mixtral8x22B) {
  FakeCheckpoint file(CheckpointKind::kHuggingFace, HuggingFaceConfig(k8x22B, "mixtral", 48));
  ClaimCommon(&file, kHf, k8x22B, DType::kBF16);
  ClaimSingle(&file, kHf, k8x22B, DType::kBF16);
  ExpectPlan(file, k8x22B, kWant8x22B, 64);
}

TEST(BigShapes, Mixtral8x22BWithFusedExperts) {
  FakeCheckpoint file(CheckpointKind::kHuggingFace, HuggingFaceConfig(k8x22B, "mixtral", 48));
  ClaimCommon(&file, kHf, k8x22B, DType::kBF16);
  const Size& s = k8x22B;
  for (int layer = 0; layer < s.n_layers; ++layer) {
    const auto name = [&](TensorRole role) { return MergedExpertsOf(kHf, role, layer)->name; };
    file.Claim(name(TensorRole::kExpertGate), DType::kBF16, {s.n_experts, 2 * s.ffn, s.dim});
    file.Claim(name(TensorRole::kExpertDown), DType::kBF16, {s.n_experts, s.dim, s.ffn});
  }
  ExpectPlan(file, s, kWant8x22B, 64);
}

TEST(BigShapes, Mixtral8x7BInQ4_0) {
  const Size& s = k8x7B;
  constexpr auto kGguf = NamingScheme::kGguf;
  Json config = Json::Object();
  config.Set("general.architecture", "llama").Set("llama.block_count", s.n_layers);
  config.Set("llama.context_length", 32768).Set("llama.embedding_length", s.dim);
  config.Set("llama.feed_forward_length", s.ffn).Set("llama.attention.head_count", 32);
  config.Set("llama.attention.head_count_kv", 8).Set("llama.rope.dimension_count", 128);
  config.Set("llama.attention.layer_norm_rms_epsilon", 1e-5).Set("llama.rope.freq_base", 1e6);
  config.Set("llama.expert_count", 8).Set("llama.expert_used_count", 2);
  FakeCheckpoint file(CheckpointKind::kGguf, config);
  ClaimCommon(&file, kGguf, s, DType::kQ4_0);
  for (int layer = 0; layer < s.n_layers; ++layer) {
    const auto name = [&](TensorRole role) { return MergedExpertsOf(kGguf, role, layer)->name; };
    file.Claim(name(TensorRole::kExpertGate), DType::kQ4_0, {s.n_experts, s.ffn, s.dim});
    file.Claim(name(TensorRole::kExpertUp), DType::kQ4_0, {s.n_experts, s.ffn, s.dim});
    file.Claim(name(TensorRole::kExpertDown), DType::kQ4_0, {s.n_experts, s.dim, s.ffn});
  }
  ExpectPlan(file, s, {46'702'792'704, 12'879'925'248, 2 * 32 * 1024 * 2}, 18);
}

TEST(BigShapes, Llama2_70B) {
  FakeCheckpoint file(CheckpointKind::kHuggingFace, HuggingFaceConfig(k70B, "llama", 64));
  ClaimCommon(&file, kHf, k70B, DType::kF16);
  ClaimSingle(&file, kHf, k70B, DType::kF16);
  EXPECT_EQ(ReadConfig(file).config.rope_theta, 1e4f);
  ExpectPlan(file, k70B, {68'976'648'192, 68'976'648'192, 2 * 80 * 1024 * 2}, 64);
}

TEST(BigShapes, DenseMistral7B) {
  FakeCheckpoint file(CheckpointKind::kHuggingFace, HuggingFaceConfig(k7B, "mistral", 32));
  ClaimCommon(&file, kHf, k7B, DType::kBF16);
  ClaimSingle(&file, kHf, k7B, DType::kBF16);
  EXPECT_EQ(ReadConfig(file).config.sliding_window, 4096);
  ExpectPlan(file, k7B, {7'241'732'096, 7'241'732'096, 2 * 32 * 1024 * 2}, 64);
}

// More experts than any Mixtral has, all of them loaded and each where it belongs.
TEST(BigShapes, Experts256Top8) {
  const Size s = {1, 32, 32, 32, 16, 40, 256};
  Json config = HuggingFaceConfig(s, "mixtral", 4);
  config.Set("num_key_value_heads", 2).Set("num_experts_per_tok", 8);
  FakeCheckpoint file(CheckpointKind::kHuggingFace, config);
  ClaimCommon(&file, kHf, s, DType::kBF16);
  ClaimSingle(&file, kHf, s, DType::kBF16);
  const std::string last = TensorName(kHf, TensorRole::kExpertUp, 0, 255);
  file.Put(last, DType::kBF16, {s.ffn, s.dim});
  FakeBackend backend;
  LoadedModel model = LoadModel(file, &backend);
  EXPECT_EQ(model.config.experts_per_token, 8);
  const int32_t id = 255;
  ExpertLease lease;
  model.experts->Begin(0, {&id, 1});
  ASSERT_EQ(model.experts->NextWave({&lease, 1}), 1);
  EXPECT_EQ(lease.weights.up.data, file.Find(last)->bytes.data());
  const MemoryPlan plan = PlanMemory(file, model.config, DType::kF16);
  EXPECT_EQ(plan.weight_bytes - plan.active_bytes, 248u * 3 * 32 * 32 * 2 + 40 * 32 * 2);
}

}  // namespace
}  // namespace mixtral
