// SPDX-License-Identifier: Apache-2.0
// Right and wrong checkpoints in memory: what is refused and with which words, where experts are
// found, what is noticed; and the plan's sums.
#include "model/loader.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "model/fake_backend.h"
#include "model/fake_checkpoint.h"
#include "model/plan.h"

namespace mixtral {
namespace {

using testing::FakeBackend;
using testing::FakeCheckpoint;

// V 40, D 32, F 64, 4/2 heads x 8, 1 layer, 3 experts top 2.
constexpr int64_t kVocab = 40, kDim = 32, kFfn = 64, kQRows = 32, kKvRows = 16, kExperts = 3;

FakeCheckpoint HuggingFace() {
  Json config = Json::Object();
  config.Set("model_type", "mixtral").Set("hidden_act", "silu").Set("hidden_size", 32);
  config.Set("intermediate_size", 64).Set("max_position_embeddings", 128);
  config.Set("num_attention_heads", 4).Set("num_key_value_heads", 2).Set("num_hidden_layers", 1);
  config.Set("num_local_experts", 3).Set("num_experts_per_tok", 2).Set("rms_norm_eps", 1e-5);
  config.Set("rope_theta", 1e6).Set("vocab_size", 40).Set("tie_word_embeddings", false);
  FakeCheckpoint file(CheckpointKind::kHuggingFace, config);
  const std::string layer = "model.layers.0.";
  file.Put("model.embed_tokens.weight", DType::kBF16, {kVocab, kDim});
  file.Put("lm_head.weight", DType::kBF16, {kVocab, kDim});
  file.Put("model.norm.weight", DType::kBF16, {kDim});
  file.Put(layer + "input_layernorm.weight", DType::kBF16, {kDim});
  file.Put(layer + "post_attention_layernorm.weight", DType::kBF16, {kDim});
  file.Put(layer + "self_attn.q_proj.weight", DType::kBF16, {kQRows, kDim});
  file.Put(layer + "self_attn.k_proj.weight", DType::kBF16, {kKvRows, kDim});
  file.Put(layer + "self_attn.v_proj.weight", DType::kBF16, {kKvRows, kDim});
  file.Put(layer + "self_attn.o_proj.weight", DType::kBF16, {kDim, kQRows});
  file.Put(layer + "block_sparse_moe.gate.weight", DType::kF32, {kExperts, kDim});
  for (const char* expert : {"0", "1", "2"}) {
    const std::string prefix = layer + "block_sparse_moe.experts." + expert;
    file.Put(prefix + ".w1.weight", DType::kBF16, {kFfn, kDim});
    file.Put(prefix + ".w2.weight", DType::kBF16, {kDim, kFfn});
    file.Put(prefix + ".w3.weight", DType::kBF16, {kFfn, kDim});
  }
  return file;
}

/// The same model with its one layer as transformers v5 names it.
FakeCheckpoint Fused() {
  FakeCheckpoint file = HuggingFace();
  for (const std::string& name : file.Names())
    if (name.find("block_sparse_moe") != std::string::npos) file.Drop(name);
  file.Put("model.layers.0.mlp.gate.weight", DType::kF32, {kExperts, kDim});
  file.Put("model.layers.0.mlp.experts.gate_up_proj", DType::kBF16, {kExperts, 2 * kFfn, kDim});
  file.Put("model.layers.0.mlp.experts.down_proj", DType::kBF16, {kExperts, kDim, kFfn});
  return file;
}

FakeCheckpoint Gguf() {
  Json config = Json::Object();
  config.Set("general.architecture", "llama").Set("llama.block_count", 1);
  config.Set("llama.context_length", 128).Set("llama.embedding_length", 32);
  config.Set("llama.feed_forward_length", 64).Set("llama.attention.head_count", 4);
  config.Set("llama.attention.head_count_kv", 2).Set("llama.rope.dimension_count", 8);
  config.Set("llama.attention.layer_norm_rms_epsilon", 1e-5).Set("llama.rope.freq_base", 1e6);
  config.Set("llama.expert_count", 3).Set("llama.expert_used_count", 2);
  FakeCheckpoint file(CheckpointKind::kGguf, config);
  file.Put("token_embd.weight", DType::kQ8_0, {kVocab, kDim});
  file.Put("output.weight", DType::kQ8_0, {kVocab, kDim});
  file.Put("output_norm.weight", DType::kF32, {kDim});
  file.Put("blk.0.attn_norm.weight", DType::kF32, {kDim});
  file.Put("blk.0.ffn_norm.weight", DType::kF32, {kDim});
  file.Put("blk.0.attn_q.weight", DType::kQ8_0, {kQRows, kDim});
  file.Put("blk.0.attn_k.weight", DType::kQ8_0, {kKvRows, kDim});
  file.Put("blk.0.attn_v.weight", DType::kQ8_0, {kKvRows, kDim});
  file.Put("blk.0.attn_output.weight", DType::kQ8_0, {kDim, kQRows});
  file.Put("blk.0.ffn_gate_inp.weight", DType::kF16, {kExperts, kDim});
  file.Put("blk.0.ffn_gate_exps.weight", DType::kQ4_0, {kExperts, kFfn, kDim});
  file.Put("blk.0.ffn_up_exps.weight", DType::kQ4_0, {kExperts, kFfn, kDim});
  file.Put("blk.0.ffn_down_exps.weight", DType::kQ8_0, {kExperts, kDim, kFfn});
  return file;
}

void ExpectRefusal(const FakeCheckpoint& file, ErrorCode code, const std::string& message) {
  FakeBackend backend;
  try {
    LoadModel(file, &backend);
    ADD_FAILURE() << "loaded, instead of: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_EQ(std::string(error.what()), message);
  }
}

std::vector<ExpertLease> Experts(LoadedModel& model) {
  const std::vector<int32_t> ids = {0, 1, 2};
  std::vector<ExpertLease> leases(3);
  model.experts->Begin(0, ids);
  EXPECT_EQ(model.experts->NextWave(leases), 3);
  return leases;
}

TEST(Loader, HuggingFace) {
  FakeBackend backend;
  const FakeCheckpoint file = HuggingFace();
  LoadedModel model = LoadModel(file, &backend);
  EXPECT_EQ(model.rope_order, RopeOrder::kHalf);
  EXPECT_TRUE(model.notices.empty());
  ASSERT_EQ(model.weights.layers.size(), 1u);
  EXPECT_EQ(model.weights.layers[0].k.rows, kKvRows);
  EXPECT_EQ(model.weights.layers[0].router.dtype, DType::kF32);
  EXPECT_NE(model.weights.output.data, model.weights.embedding.data);
  const std::vector<ExpertLease> experts = Experts(model);
  const std::string prefix = "model.layers.0.block_sparse_moe.experts.1";
  EXPECT_EQ(experts[1].weights.gate.data, file.Find(prefix + ".w1.weight")->bytes.data());
  EXPECT_EQ(experts[1].weights.down.data, file.Find(prefix + ".w2.weight")->bytes.data());
  EXPECT_EQ(experts[1].weights.up.data, file.Find(prefix + ".w3.weight")->bytes.data());
}

TEST(Loader, GgufExpertsAreSlicesOfTheMergedTensor) {
  FakeBackend backend;
  const FakeCheckpoint file = Gguf();
  LoadedModel model = LoadModel(file, &backend);
  EXPECT_EQ(model.rope_order, RopeOrder::kInterleaved);
  EXPECT_EQ(model.config.vocab_size, kVocab) << "taken from the embedding";
  const std::vector<ExpertLease> experts = Experts(model);
  const std::byte* gate = file.Find("blk.0.ffn_gate_exps.weight")->bytes.data();
  const std::byte* down = file.Find("blk.0.ffn_down_exps.weight")->bytes.data();
  EXPECT_EQ(experts[2].weights.gate.data, gate + 2 * 64 * 18);
  EXPECT_EQ(experts[2].weights.down.data, down + 2 * 32 * 2 * 34);
  EXPECT_EQ(experts[2].weights.down.rows, kDim);
  EXPECT_EQ(experts[2].weights.down.cols, kFfn);
}

TEST(Loader, FusedExpertsAreSlicesOfTwoTensors) {
  FakeBackend backend;
  const FakeCheckpoint file = Fused();
  LoadedModel model = LoadModel(file, &backend);
  EXPECT_EQ(model.rope_order, RopeOrder::kHalf);
  EXPECT_TRUE(model.notices.empty());
  EXPECT_EQ(model.weights.layers[0].router.data,
            file.Find("model.layers.0.mlp.gate.weight")->bytes.data());
  const std::byte* gate_up = file.Find("model.layers.0.mlp.experts.gate_up_proj")->bytes.data();
  const std::byte* down = file.Find("model.layers.0.mlp.experts.down_proj")->bytes.data();
  const size_t matrix = 64 * 32 * 2;  // bytes of gate, up and down alike
  const std::vector<ExpertLease> experts = Experts(model);
  for (size_t e = 0; e < 3; ++e) {
    EXPECT_EQ(experts[e].weights.gate.data, gate_up + 2 * e * matrix);
    EXPECT_EQ(experts[e].weights.up.data, gate_up + (2 * e + 1) * matrix);
    EXPECT_EQ(experts[e].weights.down.data, down + e * matrix);
    EXPECT_EQ(experts[e].weights.up.rows, kFfn);
    EXPECT_EQ(experts[e].weights.down.rows, kDim);
  }
}

TEST(Loader, RefusesAFileWithBothLayoutsOrNeither) {
  const std::string old_layer = "model.layers.0.block_sparse_moe.";
  const std::string new_layer = "model.layers.0.mlp.";
  FakeCheckpoint file = Fused();
  file.Put(old_layer + "experts.1.w3.weight", DType::kBF16, {kFfn, kDim});
  ExpectRefusal(file, ErrorCode::kCorrupt,
                "tensor " + old_layer + "experts.1.w3.weight: expected this or " + new_layer +
                    "experts.gate_up_proj, found both, in fake-model");
  file = Fused();
  file.Put(old_layer + "gate.weight", DType::kF32, {kExperts, kDim});
  ExpectRefusal(file, ErrorCode::kCorrupt,
                "tensor " + old_layer + "gate.weight: expected this or " + new_layer +
                    "gate.weight, found both, in fake-model");
  file.Drop(old_layer + "gate.weight");
  file.Drop(new_layer + "gate.weight");
  ExpectRefusal(file, ErrorCode::kNotFound,
                "tensor " + old_layer + "gate.weight: expected this or " + new_layer +
                    "gate.weight, found neither, in fake-model");
  file = Fused();
  file.Drop(new_layer + "experts.down_proj");
  ExpectRefusal(file, ErrorCode::kNotFound,
                "tensor " + old_layer + "experts.0.w2.weight: expected this or " + new_layer +
                    "experts.down_proj, found neither, in fake-model");
  file.Put(new_layer + "experts.down_proj", DType::kBF16, {kExperts, kFfn, kDim});
  ExpectRefusal(file, ErrorCode::kCorrupt,
                "tensor shape: expected [3, 32, 64], found [3, 64, 32], in fake-model/shard-1:" +
                    new_layer + "experts.down_proj");
  FakeCheckpoint gguf = Gguf();
  gguf.Put("blk.0.ffn_gate.2.weight", DType::kQ4_0, {kFfn, kDim});
  ExpectRefusal(gguf, ErrorCode::kCorrupt,
                "tensor blk.0.ffn_gate.2.weight: expected this or blk.0.ffn_gate_exps.weight, "
                "found both, in fake-model");
}

TEST(Loader, SplitExpertsOfOneLayerMayDifferInType) {
  FakeBackend backend;
  FakeCheckpoint file = Gguf();
  file.Drop("blk.0.ffn_gate_exps.weight");
  const DType types[] = {DType::kQ8_0, DType::kF16, DType::kQ4_0};
  for (size_t e = 0; e < 3; ++e)
    file.Put("blk.0.ffn_gate." + std::to_string(e) + ".weight", types[e], {kFfn, kDim});
  LoadedModel model = LoadModel(file, &backend);
  EXPECT_TRUE(model.notices.empty());
  const std::vector<ExpertLease> experts = Experts(model);
  for (size_t e = 0; e < 3; ++e) EXPECT_EQ(experts[e].weights.gate.dtype, types[e]);
  EXPECT_EQ(experts[1].weights.up.dtype, DType::kQ4_0) << "a slice of the merged tensor";
}

TEST(Loader, TiedEmbeddings) {
  FakeBackend backend;
  FakeCheckpoint gguf = Gguf();
  gguf.Drop("output.weight");
  EXPECT_TRUE(ReadConfig(gguf).config.tied_embeddings);
  const LoadedModel model = LoadModel(gguf, &backend);
  EXPECT_EQ(model.weights.output.data, model.weights.embedding.data);

  FakeCheckpoint hf = HuggingFace();
  hf.Drop("lm_head.weight");
  ExpectRefusal(hf, ErrorCode::kNotFound,
                "tensor lm_head.weight: expected shape [40, 32], found no such tensor, in "
                "fake-model");
  hf.SetConfig("tie_word_embeddings", true);
  const LoadedModel tied = LoadModel(hf, &backend);
  EXPECT_EQ(tied.weights.output.data, tied.weights.embedding.data);
}

TEST(Loader, RefusesWhatDoesNotFitTheConfig) {
  const std::string down = "model.layers.0.block_sparse_moe.experts.2.w2.weight";
  FakeCheckpoint file = HuggingFace();
  file.Drop(down);
  ExpectRefusal(file, ErrorCode::kNotFound,
                "tensor " + down +
                    ": expected this or model.layers.0.mlp.experts.down_proj, found neither, in "
                    "fake-model");
  file.Put(down, DType::kBF16, {kFfn, kDim});
  ExpectRefusal(file, ErrorCode::kCorrupt,
                "tensor shape: expected [32, 64], found [64, 32], in fake-model/shard-1:" + down);
  file.Put(down, DType::kBF16, {kFfn * kDim});
  ExpectRefusal(file, ErrorCode::kCorrupt,
                "tensor shape: expected [32, 64], found [2048], in fake-model/shard-1:" + down);
  file.Put(down, DType::kI32, {kDim, kFfn});
  ExpectRefusal(file, ErrorCode::kUnsupported,
                "tensor type: expected floating-point or quantised weights, found I32, in "
                "fake-model/shard-1:" +
                    down);
  file.Put(down, DType::kQ4_K, {kDim, kFfn});
  ExpectRefusal(file, ErrorCode::kUnsupported,
                "tensor row: expected a multiple of 256 values for Q4_K, found 64, in "
                "fake-model/shard-1:" +
                    down);
}

TEST(Loader, RefusesMergedExpertsOfAnotherNumber) {
  FakeCheckpoint file = Gguf();
  file.Put("blk.0.ffn_up_exps.weight", DType::kQ4_0, {kExperts + 1, kFfn, kDim});
  ExpectRefusal(file, ErrorCode::kCorrupt,
                "tensor shape: expected [3, 64, 32], found [4, 64, 32], in "
                "fake-model/shard-1:blk.0.ffn_up_exps.weight");
  file.Drop("blk.0.ffn_up_exps.weight");
  ExpectRefusal(file, ErrorCode::kNotFound,
                "tensor blk.0.ffn_up.0.weight: expected this or blk.0.ffn_up_exps.weight, found "
                "neither, in fake-model");
}

TEST(Loader, LeftOverTensors) {
  FakeBackend backend;
  FakeCheckpoint file = HuggingFace();
  file.Put("model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {4});
  EXPECT_TRUE(LoadModel(file, &backend).notices.empty());
  file.Put("vision.weight", DType::kBF16, {4, 4});
  file.Put("audio.weight", DType::kBF16, {4, 4});
  const LoadedModel model = LoadModel(file, &backend);
  ASSERT_EQ(model.notices.size(), 1u);
  EXPECT_EQ(model.notices[0], "2 unknown tensors ignored, the first is audio.weight");
  const std::string bias = "model.layers.0.self_attn.q_proj.bias";
  file.Put(bias, DType::kBF16, {kQRows});
  ExpectRefusal(file, ErrorCode::kUnsupported,
                "tensor " + bias +
                    ": expected none (this architecture has no biases), found one, in "
                    "fake-model/shard-1:" +
                    bias);
  FakeCheckpoint gguf = Gguf();
  gguf.Put("rope_freqs.weight", DType::kF32, {4});
  ExpectRefusal(gguf, ErrorCode::kUnsupported,
                "tensor rope_freqs.weight: expected none (scaled rotary frequencies are not "
                "supported), found one, in fake-model/shard-1:rope_freqs.weight");
}

TEST(Plan, AddsUpWhatOneTokenReads) {
  const FakeCheckpoint file = Gguf();
  const ModelConfig config = ReadConfig(file).config;
  const MemoryPlan plan = PlanMemory(file, config, DType::kF16);
  const uint64_t embedding = 40 * 34;
  const uint64_t attention = (32 + 16 + 16 + 32) * 34;
  const uint64_t norms = 3 * 32 * 4, router = 3 * 32 * 2;
  const uint64_t expert = 2 * 64 * 18 + 32 * 2 * 34;
  EXPECT_EQ(plan.weight_bytes, 2 * embedding + attention + norms + router + 3 * expert);
  EXPECT_EQ(plan.active_bytes, embedding + attention + norms + router + 2 * expert);
  EXPECT_EQ(plan.kv_bytes_per_position, 2u * 2 * 8 * 2);
  EXPECT_EQ(plan.bytes_by_type.at("Q4_0"), 3u * 2 * 64 * 18);
  EXPECT_EQ(plan.bytes_by_type.at("F16"), router);
  uint64_t sum = 0;
  for (const auto& [type, bytes] : plan.bytes_by_type) sum += bytes;
  EXPECT_EQ(sum, plan.weight_bytes);
}

TEST(Plan, TheLayoutOfExpertsChangesNothing) {
  const FakeCheckpoint old_file = HuggingFace(), new_file = Fused();
  const ModelConfig config = ReadConfig(old_file).config;
  const MemoryPlan want = PlanMemory(old_file, config, DType::kF16);
  const MemoryPlan found = PlanMemory(new_file, config, DType::kF16);
  EXPECT_EQ(found.weight_bytes, want.weight_bytes);
  EXPECT_EQ(found.active_bytes, want.active_bytes);
  const uint64_t expert = 3 * 64 * 32 * 2;
  EXPECT_EQ(want.weight_bytes - want.active_bytes, expert + 40 * 32 * 2)
      << "all but one of three experts and the embedding";
}

TEST(Plan, ATiedEmbeddingIsReadAsTheOutput) {
  FakeCheckpoint file = Gguf();
  const uint64_t untied = PlanMemory(file, ReadConfig(file).config, DType::kF16).active_bytes;
  file.Drop("output.weight");
  EXPECT_EQ(PlanMemory(file, ReadConfig(file).config, DType::kF16).active_bytes, untied);
}

}  // namespace
}  // namespace mixtral
