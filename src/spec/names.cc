// SPDX-License-Identifier: Apache-2.0
// The three naming schemes: one table row per role; the matrices of the feed-forward part are spelt
// out in FfnName and MergedExpertsOf, since dense, expert and merged names differ. Used by the
// loader.
#include "spec/names.h"

#include <array>
#include <string_view>

#include "base/check.h"
#include "base/error.h"  // fmt

namespace mixtral {
namespace {

struct RoleNames {
  TensorRole role;
  std::string_view hugging_face, mistral, gguf;
};

// Order of TensorRole up to kRouter.
constexpr std::array<RoleNames, 10> kNames = {{
    {TensorRole::kEmbedding, "model.embed_tokens.weight", "tok_embeddings.weight",
     "token_embd.weight"},
    {TensorRole::kFinalNorm, "model.norm.weight", "norm.weight", "output_norm.weight"},
    {TensorRole::kOutput, "lm_head.weight", "output.weight", "output.weight"},
    {TensorRole::kAttnNorm, "input_layernorm.weight", "attention_norm.weight", "attn_norm.weight"},
    {TensorRole::kQ, "self_attn.q_proj.weight", "attention.wq.weight", "attn_q.weight"},
    {TensorRole::kK, "self_attn.k_proj.weight", "attention.wk.weight", "attn_k.weight"},
    {TensorRole::kV, "self_attn.v_proj.weight", "attention.wv.weight", "attn_v.weight"},
    {TensorRole::kO, "self_attn.o_proj.weight", "attention.wo.weight", "attn_output.weight"},
    {TensorRole::kFfnNorm, "post_attention_layernorm.weight", "ffn_norm.weight", "ffn_norm.weight"},
    {TensorRole::kRouter, "block_sparse_moe.gate.weight", "feed_forward.gate.weight",
     "ffn_gate_inp.weight"},
}};

struct FfnNames {
  std::string_view native;  // w1, w2, w3: Mistral everywhere and Hugging Face inside an expert
  std::string_view word;    // gate, up, down: GGUF and Hugging Face's dense FFN
};

FfnNames FfnMatrix(TensorRole role) {
  switch (role) {
    case TensorRole::kExpertGate:
      return {"w1", "gate"};
    case TensorRole::kExpertUp:
      return {"w3", "up"};
    case TensorRole::kExpertDown:
      return {"w2", "down"};
    default:
      Check(false, "FfnMatrix: not a matrix of an expert");
      return {};
  }
}

std::string LayerPrefix(NamingScheme scheme, int layer) {
  switch (scheme) {
    case NamingScheme::kHuggingFace:
      return fmt::format("model.layers.{}.", layer);
    case NamingScheme::kMistral:
      return fmt::format("layers.{}.", layer);
    case NamingScheme::kGguf:
      break;
  }
  return fmt::format("blk.{}.", layer);
}

std::string FfnName(NamingScheme scheme, TensorRole role, int expert) {
  const FfnNames matrix = FfnMatrix(role);
  const bool dense = expert < 0;
  switch (scheme) {
    case NamingScheme::kHuggingFace:
      return dense ? fmt::format("mlp.{}_proj.weight", matrix.word)
                   : fmt::format("block_sparse_moe.experts.{}.{}.weight", expert, matrix.native);
    case NamingScheme::kMistral:
      return dense ? fmt::format("feed_forward.{}.weight", matrix.native)
                   : fmt::format("feed_forward.experts.{}.{}.weight", expert, matrix.native);
    case NamingScheme::kGguf:
      break;
  }
  return dense ? fmt::format("ffn_{}.weight", matrix.word)
               : fmt::format("ffn_{}.{}.weight", matrix.word, expert);
}

}  // namespace

std::string TensorName(NamingScheme scheme, TensorRole role, int layer, int expert) {
  const size_t index = static_cast<size_t>(role);
  if (index >= kNames.size()) return LayerPrefix(scheme, layer) + FfnName(scheme, role, expert);
  const RoleNames& row = kNames[index];
  Check(row.role == role, "TensorName: kNames is out of order");
  const std::string_view name = scheme == NamingScheme::kHuggingFace ? row.hugging_face
                                : scheme == NamingScheme::kMistral   ? row.mistral
                                                                     : row.gguf;
  const bool per_layer = role >= TensorRole::kAttnNorm;
  return (per_layer ? LayerPrefix(scheme, layer) : std::string()) + std::string(name);
}

std::optional<MergedExperts> MergedExpertsOf(NamingScheme scheme, TensorRole role, int layer) {
  const std::string_view word = FfnMatrix(role).word;
  const std::string prefix = LayerPrefix(scheme, layer);
  switch (scheme) {
    case NamingScheme::kHuggingFace:
      if (role == TensorRole::kExpertDown) return MergedExperts{prefix + "mlp.experts.down_proj"};
      return MergedExperts{prefix + "mlp.experts.gate_up_proj", 2,
                           role == TensorRole::kExpertGate ? 0 : 1};
    case NamingScheme::kMistral:
      return std::nullopt;
    case NamingScheme::kGguf:
      break;
  }
  return MergedExperts{fmt::format("{}ffn_{}_exps.weight", prefix, word)};
}

std::vector<std::string> RouterNames(NamingScheme scheme, int layer) {
  std::vector<std::string> names = {TensorName(scheme, TensorRole::kRouter, layer)};
  if (scheme == NamingScheme::kHuggingFace)  // transformers v5 renamed the whole block
    names.push_back(LayerPrefix(scheme, layer) + "mlp.gate.weight");
  return names;
}

bool IsExpertTensor(NamingScheme scheme, std::string_view name) {
  if (scheme != NamingScheme::kGguf) return name.find(".experts.") != std::string_view::npos;
  if (name.ends_with("_exps.weight")) return true;
  // blk.N.ffn_gate.E.weight: a number where a dense layer's name has none.
  const size_t end = name.rfind(".weight");
  const size_t dot = end == std::string_view::npos ? end : name.substr(0, end).rfind('.');
  if (dot == std::string_view::npos || name.find(".ffn_") == std::string_view::npos) return false;
  const std::string_view number = name.substr(dot + 1, end - dot - 1);
  return !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace mixtral
