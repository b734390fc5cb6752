// SPDX-License-Identifier: Apache-2.0
// TinyModel -> files. Names come from spec/names.h; configs are spelled out here, so that the
// readers in spec/ meet the keys as other programs write them.
#include "support/model_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <span>

#include "base/json.h"
#include "base/mapped_file.h"
#include "io/safetensors.h"
#include "io/test_torch.h"
#include "support/gguf_writer.h"
#include "support/tensor_rows.h"

namespace mixtral::testing {

namespace {

void WriteText(const std::string& path, const std::string& text) {
  WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

std::vector<int64_t> ShapeOf(const TinyTensor& tensor) {
  if (IsVector(tensor.role)) return {tensor.cols};
  return {tensor.rows, tensor.cols};
}

bool IsRotated(TensorRole role) { return role == TensorRole::kQ || role == TensorRole::kK; }

bool IsExpert(TensorRole role) {
  return role == TensorRole::kExpertGate || role == TensorRole::kExpertUp ||
         role == TensorRole::kExpertDown;
}

// All experts of a layer behind one another, for each the matrices of these roles in this order.
std::vector<float> ConcatExperts(const TinyModel& model, int layer,
                                 std::initializer_list<TensorRole> roles) {
  std::vector<float> values;
  for (int e = 0; e < model.config.n_experts; ++e)
    for (const TensorRole role : roles) {
      const std::vector<float>& matrix = model.Get(role, layer, e).values;
      values.insert(values.end(), matrix.begin(), matrix.end());
    }
  return values;
}

struct NamedBytes {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

// gate_up_proj [E, 2F, D] or down_proj [E, D, F] of a layer.
NamedBytes EncodeFused(const TinyModel& model, TensorRole role, int layer, DType dtype) {
  const int64_t n_experts = model.config.n_experts, dim = model.config.dim;
  const int64_t ffn = model.config.ffn_dim;
  const std::string name = MergedExpertsOf(NamingScheme::kHuggingFace, role, layer).value().name;
  if (role == TensorRole::kExpertDown)
    return {name,
            {n_experts, dim, ffn},
            EncodeRows(dtype, ConcatExperts(model, layer, {role}), n_experts * dim, ffn)};
  const std::vector<float> values =
      ConcatExperts(model, layer, {TensorRole::kExpertGate, TensorRole::kExpertUp});
  return {name, {n_experts, 2 * ffn, dim}, EncodeRows(dtype, values, 2 * n_experts * ffn, dim)};
}

std::vector<NamedBytes> Encode(const TinyModel& model, NamingScheme scheme, DType dtype,
                               const std::set<int>& fused_layers = {}) {
  std::vector<NamedBytes> out;
  for (const TinyTensor& tensor : model.tensors) {
    const bool fused = fused_layers.contains(tensor.layer);
    if (fused && IsExpert(tensor.role)) {
      if (tensor.expert == 0 && tensor.role != TensorRole::kExpertUp)
        out.push_back(EncodeFused(model, tensor.role, tensor.layer, dtype));
      continue;
    }
    const bool interleave = scheme != NamingScheme::kHuggingFace && IsRotated(tensor.role);
    const std::vector<float> values =
        interleave ? InterleaveRows(tensor, model.config.head_dim) : tensor.values;
    out.push_back({TensorName(scheme, tensor.role, tensor.layer, tensor.expert), ShapeOf(tensor),
                   EncodeRows(dtype, values, tensor.rows, tensor.cols)});
    if (fused && tensor.role == TensorRole::kRouter)
      out.back().name = RouterNames(scheme, tensor.layer).back();
  }
  return out;
}

std::vector<float> Transposed(const std::vector<float>& values, int64_t rows, int64_t cols) {
  std::vector<float> out(values.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      out[static_cast<size_t>(c * rows + r)] = values[static_cast<size_t>(r * cols + c)];
  return out;
}

// Mistral's names, but all experts of a layer in w1, w2 and w3 [E*F, D].
std::vector<NamedBytes> EncodePacked(const TinyModel& model, DType dtype) {
  std::vector<NamedBytes> out;
  const auto add = [&](int layer, const char* name, TensorRole role) {
    const int64_t rows = int64_t{model.config.n_experts} * model.config.ffn_dim;
    std::vector<float> values;
    for (int e = 0; e < model.config.n_experts; ++e) {
      const TinyTensor& matrix = model.Get(role, layer, e);
      const std::vector<float> piece = role == TensorRole::kExpertDown
                                           ? Transposed(matrix.values, matrix.rows, matrix.cols)
                                           : matrix.values;
      values.insert(values.end(), piece.begin(), piece.end());
    }
    out.push_back({fmt::format("layers.{}.block_sparse_moe.{}", layer, name),
                   {rows, model.config.dim},
                   EncodeRows(dtype, values, rows, model.config.dim)});
  };
  for (NamedBytes& tensor : Encode(model, NamingScheme::kMistral, dtype)) {
    if (tensor.name.find(".experts.") != std::string::npos) continue;
    const size_t at = tensor.name.find("feed_forward.gate.weight");
    if (at != std::string::npos) tensor.name.replace(at, 12, "block_sparse_moe");
    out.push_back(std::move(tensor));
  }
  for (int layer = 0; layer < model.config.n_layers && model.config.n_experts > 0; ++layer) {
    add(layer, "w1", TensorRole::kExpertGate);
    add(layer, "w2", TensorRole::kExpertDown);
    add(layer, "w3", TensorRole::kExpertUp);
  }
  return out;
}

void WriteSafetensors(const std::string& path, DType dtype, std::span<const NamedBytes> tensors) {
  SafetensorsWriter writer(path);
  for (const NamedBytes& tensor : tensors) writer.Declare(tensor.name, dtype, tensor.shape);
  for (const NamedBytes& tensor : tensors) writer.Append(tensor.bytes);
  writer.Finish();
}

Json HuggingFaceConfig(const ModelConfig& c) {
  Json json = Json::Object();
  const bool dense = c.n_experts == 0;
  json.Set("architectures",
           Json::Array().Push(dense ? "MistralForCausalLM" : "MixtralForCausalLM"));
  json.Set("model_type", dense ? "mistral" : "mixtral");
  json.Set("hidden_act", "silu");
  json.Set("hidden_size", c.dim);
  json.Set("intermediate_size", c.ffn_dim);
  json.Set("max_position_embeddings", c.max_context);
  json.Set("num_attention_heads", c.n_heads);
  json.Set("num_hidden_layers", c.n_layers);
  json.Set("num_key_value_heads", c.n_kv_heads);
  if (c.head_dim * c.n_heads != c.dim) json.Set("head_dim", c.head_dim);
  if (!dense) json.Set("num_local_experts", c.n_experts);
  if (!dense) json.Set("num_experts_per_tok", c.experts_per_token);
  json.Set("rms_norm_eps", 1e-5);
  json.Set("rope_theta", static_cast<double>(c.rope_theta));
  json.Set("sliding_window", c.sliding_window > 0 ? Json(c.sliding_window) : Json());
  json.Set("tie_word_embeddings", c.tied_embeddings);
  json.Set("vocab_size", c.vocab_size);
  json.Set("bos_token_id", 1);
  json.Set("eos_token_id", 2);
  return json;
}

Json MistralParams(const ModelConfig& c) {
  Json json = Json::Object();
  json.Set("dim", c.dim);
  json.Set("n_layers", c.n_layers);
  json.Set("head_dim", c.head_dim);
  json.Set("hidden_dim", c.ffn_dim);
  json.Set("n_heads", c.n_heads);
  json.Set("n_kv_heads", c.n_kv_heads);
  json.Set("norm_eps", 1e-5);
  json.Set("vocab_size", c.vocab_size);
  json.Set("rope_theta", static_cast<double>(c.rope_theta));
  if (c.sliding_window > 0) json.Set("sliding_window", c.sliding_window);
  if (c.tied_embeddings) json.Set("tied_embeddings", true);
  if (c.n_experts > 0)
    json.Set("moe", Json::Object()
                        .Set("num_experts_per_tok", c.experts_per_token)
                        .Set("num_experts", c.n_experts));
  return json;
}

void AddGgufConfig(GgufWriter& writer, const ModelConfig& c) {
  const auto u32 = [](int value) { return static_cast<uint32_t>(value); };
  writer.AddString("general.architecture", "llama");
  writer.AddString("general.name", "tiny");
  writer.AddU32("llama.block_count", u32(c.n_layers));
  writer.AddU32("llama.context_length", u32(c.max_context));
  writer.AddU32("llama.embedding_length", u32(c.dim));
  writer.AddU32("llama.feed_forward_length", u32(c.ffn_dim));
  writer.AddU32("llama.attention.head_count", u32(c.n_heads));
  writer.AddU32("llama.attention.head_count_kv", u32(c.n_kv_heads));
  writer.AddF32("llama.attention.layer_norm_rms_epsilon", c.norm_eps);
  writer.AddU32("llama.rope.dimension_count", u32(c.head_dim));
  if (c.head_dim * c.n_heads != c.dim) {
    writer.AddU32("llama.attention.key_length", u32(c.head_dim));
    writer.AddU32("llama.attention.value_length", u32(c.head_dim));
  }
  writer.AddF32("llama.rope.freq_base", c.rope_theta);
  writer.AddU32("llama.vocab_size", u32(c.vocab_size));
  if (c.sliding_window > 0) writer.AddU32("llama.attention.sliding_window", u32(c.sliding_window));
  if (c.n_experts > 0) {
    writer.AddU32("llama.expert_count", u32(c.n_experts));
    writer.AddU32("llama.expert_used_count", u32(c.experts_per_token));
  }
}

void AddVocabulary(GgufWriter& writer, int vocab_size) {
  const std::vector<std::string> pieces = StandInPieces(vocab_size);
  std::vector<float> scores(pieces.size(), 0.0f);
  std::vector<int32_t> types(pieces.size(), 1);
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i == 0) types[i] = 2;
    if (i == 1 || i == 2) types[i] = 3;
    if (i >= 3 && i < 259) types[i] = 6;
    if (i >= 259) scores[i] = -static_cast<float>(i - 259);
  }
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", pieces);
  writer.AddF32s("tokenizer.ggml.scores", scores);
  writer.AddI32s("tokenizer.ggml.token_type", types);
  writer.AddU32("tokenizer.ggml.bos_token_id", 1);
  writer.AddU32("tokenizer.ggml.eos_token_id", 2);
  writer.AddU32("tokenizer.ggml.unknown_token_id", 0);
  writer.AddBool("tokenizer.ggml.add_bos_token", true);
  writer.AddBool("tokenizer.ggml.add_eos_token", false);
}

DType GgufType(const GgufOptions& options, TensorRole role, const std::string& name) {
  for (const auto& [exception, dtype] : options.types)
    if (exception == name) return dtype;
  if (IsVector(role)) return DType::kF32;
  return role == TensorRole::kRouter ? options.router : options.dtype;
}

// Scattered: every seventh tensor, then every seventh from the second on, and so forth.
std::vector<size_t> WritingOrder(size_t n, TensorOrder order) {
  const size_t step = order == TensorOrder::kScattered ? 7 : 1;
  std::vector<size_t> indices;
  for (size_t first = 0; first < step; ++first)
    for (size_t i = first; i < n; i += step) indices.push_back(i);
  return indices;
}

// All experts of one layer and role as one tensor [E, rows, cols].
void AddMergedExperts(GgufWriter& writer, const TinyModel& model, const TinyTensor& first,
                      const GgufOptions& options) {
  const std::string name = MergedExpertsOf(NamingScheme::kGguf, first.role, first.layer)->name;
  const std::vector<float> values = ConcatExperts(model, first.layer, {first.role});
  const DType dtype = GgufType(options, first.role, name);
  writer.AddTensor(name, dtype, {model.config.n_experts, first.rows, first.cols},
                   EncodeRows(dtype, values, model.config.n_experts * first.rows, first.cols));
}

}  // namespace

void WriteHuggingFace(const TinyModel& model, const std::string& dir, DType dtype, int n_shards,
                      const std::set<int>& fused_layers) {
  std::filesystem::create_directories(dir);
  WriteText(dir + "/config.json", HuggingFaceConfig(model.config).Dump(1));
  const std::vector<NamedBytes> tensors =
      Encode(model, NamingScheme::kHuggingFace, dtype, fused_layers);
  if (n_shards == 1) return WriteSafetensors(dir + "/model.safetensors", dtype, tensors);
  // Dealt out in turn, so that one layer's tensors lie in several shards.
  std::vector<std::vector<NamedBytes>> shards(static_cast<size_t>(n_shards));
  Json weight_map = Json::Object();
  const auto file_of = [n_shards](size_t shard) {
    return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, n_shards);
  };
  uint64_t total = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t shard = i % shards.size();
    weight_map.Set(tensors[i].name, file_of(shard));
    total += tensors[i].bytes.size();
    shards[shard].push_back(tensors[i]);
  }
  for (size_t s = 0; s < shards.size(); ++s)
    WriteSafetensors(dir + "/" + file_of(s), dtype, shards[s]);
  Json index = Json::Object();
  index.Set("metadata", Json::Object().Set("total_size", total));
  index.Set("weight_map", weight_map);
  WriteText(dir + "/model.safetensors.index.json", index.Dump(1));
}

void WriteMistral(const TinyModel& model, const std::string& dir, DType dtype) {
  std::filesystem::create_directories(dir);
  WriteText(dir + "/params.json", MistralParams(model.config).Dump(1));
  WriteSafetensors(dir + "/consolidated.safetensors", dtype,
                   Encode(model, NamingScheme::kMistral, dtype));
}

void WriteTorch(const TinyModel& model, const std::string& dir, DType dtype, TorchLayout layout,
                int n_files) {
  std::filesystem::create_directories(dir);
  const bool packed = layout == TorchLayout::kPacked;
  Json params = MistralParams(model.config);
  if (packed) {
    params = HuggingFaceConfig(model.config);
    if (model.config.sliding_window > 0)  // text in the release's own file
      params.Set("sliding_window", fmt::format("{}", model.config.sliding_window));
  }
  WriteText(dir + "/params.json", params.Dump(1));
  std::vector<std::vector<test::TorchTensor>> files(static_cast<size_t>(n_files));
  size_t next = 0;
  const char* storage = dtype == DType::kF32   ? "FloatStorage"
                        : dtype == DType::kF16 ? "HalfStorage"
                                               : "BFloat16Storage";
  for (const NamedBytes& tensor :
       packed ? EncodePacked(model, dtype) : Encode(model, NamingScheme::kMistral, dtype)) {
    const auto* text = reinterpret_cast<const char*>(tensor.bytes.data());
    files[next++ % files.size()].push_back(
        {tensor.name, storage, tensor.shape, std::string(text, tensor.bytes.size())});
  }
  for (size_t i = 0; i < files.size(); ++i)
    WriteText(fmt::format("{}/consolidated.{:02}.{}", dir, i, packed ? "pt" : "pth"),
              test::TorchImage(files[i], fmt::format("consolidated.{:02}", i)));
}

void WriteGguf(const TinyModel& model, const std::string& path, const GgufOptions& options) {
  GgufWriter writer(options.version);
  AddGgufConfig(writer, model.config);
  if (options.vocabulary && model.config.vocab_size >= 259)
    AddVocabulary(writer, model.config.vocab_size);
  for (const size_t index : WritingOrder(model.tensors.size(), options.order)) {
    const TinyTensor& tensor = model.tensors[index];
    if (IsExpert(tensor.role) && tensor.expert >= 0 && options.experts == ExpertLayout::kMerged) {
      if (tensor.expert == 0) AddMergedExperts(writer, model, tensor, options);
      continue;
    }
    const std::string name =
        TensorName(NamingScheme::kGguf, tensor.role, tensor.layer, tensor.expert);
    const DType dtype = GgufType(options, tensor.role, name);
    const std::vector<float> values =
        IsRotated(tensor.role) ? InterleaveRows(tensor, model.config.head_dim) : tensor.values;
    writer.AddTensor(name, dtype, ShapeOf(tensor),
                     EncodeRows(dtype, values, tensor.rows, tensor.cols));
  }
  writer.Write(path);
}

std::vector<std::string> StandInPieces(int vocab_size) {
  const std::string space = "\xE2\x96\x81";
  std::vector<std::string> pieces = {"<unk>", "<s>", "</s>"};
  for (int byte = 0; byte < 256; ++byte) pieces.push_back(fmt::format("<0x{:02X}>", byte));
  pieces.push_back(space);
  for (const char* merge : {"th", "he", "in", "er", "an", "on", "the", "ing", "and"})
    pieces.emplace_back(merge);
  for (const char* word : {"t", "a", "th", "the", "an", "and", "in"})
    pieces.push_back(space + word);
  for (char letter = 'a'; letter <= 'z'; ++letter) pieces.emplace_back(1, letter);
  for (char letter = 'A'; letter <= 'Z'; ++letter) pieces.emplace_back(1, letter);
  for (const char mark : {'.', ',', '!', '?', '[', ']', '/'}) pieces.emplace_back(1, mark);
  for (char digit = '0'; digit <= '9'; ++digit) pieces.emplace_back(1, digit);
  const auto n = static_cast<size_t>(vocab_size);
  while (pieces.size() < n) pieces.push_back(fmt::format("tok{}", pieces.size()));
  pieces.resize(n);
  return pieces;
}

}  // namespace mixtral::testing
