// SPDX-License-Identifier: Apache-2.0
// Collects the report; report_text.cc prints it.
#include "cli/model_report.h"

#include "base/error.h"
#include "engine/engine.h"
#include "kernels/kernel_table.h"
#include "model/plan.h"

namespace mixtral::cli {
namespace {

/// The shortest decimal that reads back as this float: 1e-05 and not 9.999999747378752e-06.
double Shortest(float value) { return std::stod(fmt::format("{}", value)); }

Json Architecture(const ModelConfig& c) {
  return Json::Object()
      .Set("layers", c.n_layers)
      .Set("dim", c.dim)
      .Set("ffn_dim", c.ffn_dim)
      .Set("heads", c.n_heads)
      .Set("kv_heads", c.n_kv_heads)
      .Set("head_dim", c.head_dim)
      .Set("vocab_size", c.vocab_size)
      .Set("experts", c.n_experts)
      .Set("experts_per_token", c.experts_per_token)
      .Set("context", c.max_context)
      .Set("sliding_window", c.sliding_window)
      .Set("rope_theta", Shortest(c.rope_theta))
      .Set("norm_eps", Shortest(c.norm_eps))
      .Set("tied_embeddings", c.tied_embeddings);
}

Json DescribeTokenizer(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                       const std::vector<TokenId>& eos_ids) {
  Json eos = Json::Array();
  for (const TokenId id : eos_ids) eos.Push(id);
  return Json::Object()
      .Set("kind", checkpoint.sentencepiece_model() ? "tokenizer.model"
                   : checkpoint.tokenizer_json()    ? "tokenizer.json"
                                                    : "GGUF vocabulary")
      .Set("pieces", tokenizer.vocab_size())
      .Set("bos", tokenizer.bos_id())
      .Set("eos", std::move(eos));
}

/// What `chat` would take; a template that it would refuse is no reason for `info` to fail.
Json DescribeChatFormat(const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  try {
    const ChatFormatChoice choice = ChooseChatFormat(checkpoint.chat_template(), tokenizer);
    return Json::Object().Set("name", ChatFormatName(choice.format)).Set("reason", choice.reason);
  } catch (const Error& error) {
    return Json::Object().Set("name", "refused").Set("reason", error.what());
  }
}

template <class Fn>
void PushSlot(Json& slots, std::string_view name, std::string_view variant,
              const kernels::Slot<Fn>& slot) {
  if (slot.fn == nullptr) return;
  slots.Push(Json::Object()
                 .Set("slot", name)
                 .Set("variant", variant)
                 .Set("isa", kernels::IsaName(slot.isa)));
}

}  // namespace

Json DescribeModel(const Checkpoint& checkpoint) {
  const ParsedConfig parsed = ReadConfig(checkpoint);
  const ModelConfig& config = parsed.config;
  const MemoryPlan plan = PlanMemory(checkpoint, config, DType::kF16);
  const auto tokenizer = OpenTokenizer(checkpoint);
  const auto eos_ids = FindEosIds(checkpoint, tokenizer.get(), config.vocab_size);
  Json types = Json::Object(), notices = Json::Array();
  for (const auto& [type, bytes] : plan.bytes_by_type) types.Set(type, bytes);
  for (const std::string& notice : parsed.notices) notices.Push(notice);
  return Json::Object()
      .Set("path", checkpoint.path())
      .Set("format", checkpoint.format())
      .Set("architecture", Architecture(config))
      .Set("parameters", Json::Object()
                             .Set("total", config.TotalParameters())
                             .Set("active", config.ActiveParameters()))
      .Set("bytes", Json::Object()
                        .Set("files", checkpoint.FileBytes())
                        .Set("weights", plan.weight_bytes)
                        .Set("read_per_token", plan.active_bytes)
                        .Set("by_type", std::move(types))
                        .Set("kv_per_token_f16", plan.kv_bytes_per_position)
                        .Set("kv_per_token_f32",
                             static_cast<uint64_t>(KvCache::BytesPerPosition(config, DType::kF32))))
      .Set("tokenizer", tokenizer ? DescribeTokenizer(checkpoint, *tokenizer, eos_ids) : Json())
      .Set("chat_format", tokenizer ? DescribeChatFormat(checkpoint, *tokenizer) : Json())
      .Set("notices", std::move(notices));
}

Json DescribeTensors(const Checkpoint& checkpoint) {
  Json tensors = Json::Array();
  for (const std::string& name : checkpoint.Names()) {
    const TensorView& view = *checkpoint.Look(name);
    Json shape = Json::Array();
    for (int i = 0; i < view.rank; ++i) shape.Push(view.shape[static_cast<size_t>(i)]);
    tensors.Push(Json::Object()
                     .Set("name", name)
                     .Set("type", Name(view.dtype))
                     .Set("shape", std::move(shape))
                     .Set("bytes", static_cast<uint64_t>(view.bytes.size())));
  }
  return tensors;
}

Json DescribeKernels() {
  const char* problem = nullptr;
  const kernels::KernelTable* table = kernels::ActiveKernels(&problem);
  if (table == nullptr) Throw(ErrorCode::kInvalidArgument, "{}", problem);
  Json slots = Json::Array();
  for (int i = 0; i < kNumMatrixDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    for (const auto compute : {kernels::Compute::kFast, kernels::Compute::kExact}) {
      const kernels::MatrixSlots& matrix = table->Matrix(compute, dtype);
      const std::string variant =
          fmt::format("{} {}", Name(dtype), compute == kernels::Compute::kFast ? "fast" : "exact");
      PushSlot(slots, "quantize_rows", variant, matrix.quantize_rows);
      PushSlot(slots, "pack_tile", variant, matrix.pack_tile);
      PushSlot(slots, "gemm_tile", variant, matrix.gemm_tile);
      PushSlot(slots, "gemv_rows", variant, matrix.gemv_rows);
    }
    PushSlot(slots, "to_f32", Name(dtype), table->to_f32[Index(dtype)]);
  }
  for (size_t i = 0; i < table->from_f32.size(); ++i)
    PushSlot(slots, "from_f32", Name(static_cast<DType>(i)), table->from_f32[i]);
  for (size_t i = 0; i < table->attend_tile.size(); ++i)
    PushSlot(slots, "attend_tile", Name(static_cast<DType>(i)), table->attend_tile[i]);
  PushSlot(slots, "rms_norm", "", table->rms_norm);
  PushSlot(slots, "rope", "", table->rope);
  PushSlot(slots, "silu_mul", "", table->silu_mul);
  PushSlot(slots, "add_scaled", "", table->add_scaled);
  constexpr std::array<std::string_view, kernels::kNumPeaks> kPeaks = {"int8", "int8 sum16", "f32"};
  for (size_t i = 0; i < kPeaks.size(); ++i) PushSlot(slots, "peak", kPeaks[i], table->peaks[i]);
  PushSlot(slots, "read_words", "", table->read_words);
  return Json::Object()
      .Set("isa", kernels::IsaName(kernels::ActiveIsa()))
      .Set("slots", std::move(slots));
}

}  // namespace mixtral::cli
