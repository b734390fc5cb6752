// SPDX-License-Identifier: Apache-2.0
// Spot checks of every row and form of the name table.
#include "spec/names.h"

#include <gtest/gtest.h>

#include <set>

#include "spec/fixups.h"

namespace mixtral {
namespace {

constexpr auto kHf = NamingScheme::kHuggingFace;
constexpr auto kMistral = NamingScheme::kMistral;
constexpr auto kGguf = NamingScheme::kGguf;

TEST(NamesTest, SpellsHuggingFace) {
  EXPECT_EQ(TensorName(kHf, TensorRole::kEmbedding), "model.embed_tokens.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kFinalNorm), "model.norm.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kOutput), "lm_head.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kAttnNorm, 3), "model.layers.3.input_layernorm.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kQ, 3), "model.layers.3.self_attn.q_proj.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kK, 3), "model.layers.3.self_attn.k_proj.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kV, 3), "model.layers.3.self_attn.v_proj.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kO, 31), "model.layers.31.self_attn.o_proj.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kFfnNorm, 0),
            "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kRouter, 0), "model.layers.0.block_sparse_moe.gate.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kExpertGate, 1, 7),
            "model.layers.1.block_sparse_moe.experts.7.w1.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kExpertUp, 1, 7),
            "model.layers.1.block_sparse_moe.experts.7.w3.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kExpertDown, 1, 0),
            "model.layers.1.block_sparse_moe.experts.0.w2.weight");
  EXPECT_EQ(TensorName(kHf, TensorRole::kExpertDown, 1), "model.layers.1.mlp.down_proj.weight");
}

TEST(NamesTest, SpellsMistral) {
  EXPECT_EQ(TensorName(kMistral, TensorRole::kEmbedding), "tok_embeddings.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kFinalNorm), "norm.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kOutput), "output.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kAttnNorm, 2), "layers.2.attention_norm.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kQ, 2), "layers.2.attention.wq.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kO, 2), "layers.2.attention.wo.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kRouter, 2), "layers.2.feed_forward.gate.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kExpertUp, 2, 3),
            "layers.2.feed_forward.experts.3.w3.weight");
  EXPECT_EQ(TensorName(kMistral, TensorRole::kExpertGate, 2), "layers.2.feed_forward.w1.weight");
}

TEST(NamesTest, SpellsGguf) {
  EXPECT_EQ(TensorName(kGguf, TensorRole::kEmbedding), "token_embd.weight");
  EXPECT_EQ(TensorName(kGguf, TensorRole::kFinalNorm), "output_norm.weight");
  EXPECT_EQ(TensorName(kGguf, TensorRole::kOutput), "output.weight");
  EXPECT_EQ(TensorName(kGguf, TensorRole::kO, 2), "blk.2.attn_output.weight");
  EXPECT_EQ(TensorName(kGguf, TensorRole::kRouter, 2), "blk.2.ffn_gate_inp.weight");
  EXPECT_EQ(TensorName(kGguf, TensorRole::kExpertGate, 2, 5), "blk.2.ffn_gate.5.weight");
  EXPECT_EQ(TensorName(kGguf, TensorRole::kExpertDown, 2), "blk.2.ffn_down.weight");
}

void ExpectMerged(NamingScheme scheme, TensorRole role, std::string_view name, int n_parts,
                  int part) {
  const std::optional<MergedExperts> merged = MergedExpertsOf(scheme, role, 4);
  ASSERT_TRUE(merged.has_value()) << name;
  EXPECT_EQ(merged->name, name);
  EXPECT_EQ(merged->n_parts, n_parts) << name;
  EXPECT_EQ(merged->part, part) << name;
}

TEST(NamesTest, SpellsMergedExperts) {
  ExpectMerged(kGguf, TensorRole::kExpertGate, "blk.4.ffn_gate_exps.weight", 1, 0);
  ExpectMerged(kGguf, TensorRole::kExpertUp, "blk.4.ffn_up_exps.weight", 1, 0);
  ExpectMerged(kGguf, TensorRole::kExpertDown, "blk.4.ffn_down_exps.weight", 1, 0);
  ExpectMerged(kHf, TensorRole::kExpertGate, "model.layers.4.mlp.experts.gate_up_proj", 2, 0);
  ExpectMerged(kHf, TensorRole::kExpertUp, "model.layers.4.mlp.experts.gate_up_proj", 2, 1);
  ExpectMerged(kHf, TensorRole::kExpertDown, "model.layers.4.mlp.experts.down_proj", 1, 0);
  EXPECT_FALSE(MergedExpertsOf(kMistral, TensorRole::kExpertDown, 4));
  EXPECT_EQ(RouterNames(kHf, 2),
            (std::vector<std::string>{"model.layers.2.block_sparse_moe.gate.weight",
                                      "model.layers.2.mlp.gate.weight"}));
  EXPECT_EQ(RouterNames(kMistral, 2),
            std::vector<std::string>{"layers.2.feed_forward.gate.weight"});
  EXPECT_EQ(RouterNames(kGguf, 2), std::vector<std::string>{"blk.2.ffn_gate_inp.weight"});
}

TEST(NamesTest, TellsExpertTensorsFromOthers) {
  for (const NamingScheme scheme : {kHf, kMistral, kGguf})
    for (int role = 0; role <= static_cast<int>(TensorRole::kExpertDown); ++role) {
      const auto tensor = static_cast<TensorRole>(role);
      const bool of_expert = tensor >= TensorRole::kExpertGate;
      const std::string name = TensorName(scheme, tensor, 11, 7);
      EXPECT_EQ(IsExpertTensor(scheme, name), of_expert) << name;
      const std::string dense = TensorName(scheme, tensor, 11);
      EXPECT_FALSE(IsExpertTensor(scheme, dense)) << dense;
      if (!of_expert || scheme == kMistral) continue;
      const std::string merged = MergedExpertsOf(scheme, tensor, 11)->name;
      EXPECT_TRUE(IsExpertTensor(scheme, merged)) << merged;
    }
  EXPECT_FALSE(IsExpertTensor(kHf, "model.layers.0.mlp.gate.weight"));
  EXPECT_FALSE(IsExpertTensor(kGguf, "blk.0.ffn_gate..weight"));
  EXPECT_FALSE(IsExpertTensor(kGguf, "blk.0"));
  EXPECT_FALSE(IsExpertTensor(kGguf, ""));
}

TEST(NamesTest, NoTwoRolesShareAName) {
  for (const NamingScheme scheme : {kHf, kMistral, kGguf}) {
    std::set<std::string> names;
    for (int role = 0; role <= static_cast<int>(TensorRole::kExpertDown); ++role)
      names.insert(TensorName(scheme, static_cast<TensorRole>(role), 0, 0));
    EXPECT_EQ(names.size(), 13u);
  }
}

TEST(FixupsTest, OnlyHuggingFaceSplitsHeadsInHalves) {
  EXPECT_TRUE(HasHalfSplitRope(kHf));
  EXPECT_FALSE(HasHalfSplitRope(kMistral));
  EXPECT_FALSE(HasHalfSplitRope(kGguf));
}

}  // namespace
}  // namespace mixtral
