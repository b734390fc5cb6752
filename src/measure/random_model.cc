// SPDX-License-Identifier: Apache-2.0
// The tensors of a model in file order, their deviations, and the loop that writes them.
#include "measure/random_model.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.h"
#include "io/gguf_writer.h"
#include "measure/random_weights.h"
#include "spec/names.h"

namespace mixtral {
namespace {

constexpr size_t kChunkBlocks = 1 << 15;  // blocks made and written at a time
constexpr int kFirstPiece = 259;          // <unk>, <s>, </s> and 256 bytes come before

struct RandomTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  float deviation = 0;  // 0: all ones, as norm weights are
};

/// 1 / sqrt(n): a product with n random activations of deviation 1 has deviation 1.
float Unit(int64_t n) { return 1 / std::sqrt(static_cast<float>(n)); }

bool IsKQuant(DType dtype) { return Name(dtype).ends_with("_K"); }

class TensorList {
 public:
  explicit TensorList(const RandomModel& model) : model_(model), c_(model.config) {
    Matrix(TensorRole::kEmbedding, 0, {c_.vocab_size, c_.dim}, 1);
    for (int layer = 0; layer < c_.n_layers; ++layer) AddLayer(layer);
    Norm(TensorRole::kFinalNorm, 0);
    if (c_.tied_embeddings) return;
    Matrix(TensorRole::kOutput, 0, {c_.vocab_size, c_.dim}, Unit(c_.dim));
    if (IsKQuant(model.type)) tensors_.back().dtype = DType::kQ6_K;
  }
  const std::vector<RandomTensor>& tensors() const { return tensors_; }

 private:
  void AddLayer(int layer) {
    const int64_t q_rows = int64_t{c_.n_heads} * c_.head_dim;
    const int64_t kv_rows = int64_t{c_.n_kv_heads} * c_.head_dim;
    Norm(TensorRole::kAttnNorm, layer);
    Matrix(TensorRole::kQ, layer, {q_rows, c_.dim}, Unit(c_.dim));
    Matrix(TensorRole::kK, layer, {kv_rows, c_.dim}, Unit(c_.dim));
    Matrix(TensorRole::kV, layer, {kv_rows, c_.dim}, Unit(c_.dim));
    Matrix(TensorRole::kO, layer, {c_.dim, q_rows}, Unit(q_rows));
    Norm(TensorRole::kFfnNorm, layer);
    if (c_.n_experts > 0) {
      Matrix(TensorRole::kRouter, layer, {c_.n_experts, c_.dim}, Unit(c_.dim));
      tensors_.back().dtype = DType::kF32;
    }
    Expert(TensorRole::kExpertGate, layer, {c_.ffn_dim, c_.dim});
    Expert(TensorRole::kExpertUp, layer, {c_.ffn_dim, c_.dim});
    Expert(TensorRole::kExpertDown, layer, {c_.dim, c_.ffn_dim});
  }
  void Norm(TensorRole role, int layer) {
    tensors_.push_back({TensorName(NamingScheme::kGguf, role, layer), DType::kF32, {c_.dim}, 0});
  }
  void Matrix(TensorRole role, int layer, std::vector<int64_t> shape, float deviation) {
    tensors_.push_back(
        {TensorName(NamingScheme::kGguf, role, layer), model_.type, std::move(shape), deviation});
  }
  void Expert(TensorRole role, int layer, std::vector<int64_t> shape) {
    const float deviation = Unit(shape.back());
    Matrix(role, layer, std::move(shape), deviation);
    if (c_.n_experts == 0) return;
    tensors_.back().name = MergedExpertsOf(NamingScheme::kGguf, role, layer).value().name;
    tensors_.back().shape.insert(tensors_.back().shape.begin(), c_.n_experts);
  }

  const RandomModel& model_;
  const ModelConfig& c_;
  std::vector<RandomTensor> tensors_;
};

void AddConfig(GgufWriter& writer, const RandomModel& model) {
  const ModelConfig& c = model.config;
  const auto add = [&](const char* key, int value) {
    writer.AddU32("llama." + std::string(key), static_cast<uint32_t>(value));
  };
  writer.AddString("general.architecture", "llama");
  writer.AddString("general.name", model.name);
  add("block_count", c.n_layers);
  add("context_length", c.max_context);
  add("embedding_length", c.dim);
  add("feed_forward_length", c.ffn_dim);
  add("attention.head_count", c.n_heads);
  add("attention.head_count_kv", c.n_kv_heads);
  add("attention.key_length", c.head_dim);
  add("attention.value_length", c.head_dim);
  add("rope.dimension_count", c.head_dim);
  add("vocab_size", c.vocab_size);
  if (c.n_experts > 0) add("expert_count", c.n_experts);
  if (c.n_experts > 0) add("expert_used_count", c.experts_per_token);
  if (c.sliding_window > 0) add("attention.sliding_window", c.sliding_window);
  writer.AddF32("llama.attention.layer_norm_rms_epsilon", c.norm_eps);
  writer.AddF32("llama.rope.freq_base", c.rope_theta);
}

/// A vocabulary that other engines open, too, so that they can run the same file.
void AddVocabulary(GgufWriter& writer, int vocab_size) {
  if (vocab_size < kFirstPiece) return;
  constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6;
  std::vector<std::string> pieces = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {kUnknown, kControl, kControl};
  std::vector<float> scores(static_cast<size_t>(vocab_size), 0.0f);
  for (int byte = 0; byte < 256; ++byte) {
    pieces.push_back(fmt::format("<0x{:02X}>", byte));
    types.push_back(kByte);
  }
  for (int id = kFirstPiece; id < vocab_size; ++id) {
    pieces.push_back(fmt::format("\u2581t{}", id));
    types.push_back(kNormal);
    scores[static_cast<size_t>(id)] = static_cast<float>(kFirstPiece - id);
  }
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", pieces);
  writer.AddF32s("tokenizer.ggml.scores", scores);
  writer.AddI32s("tokenizer.ggml.token_type", types);
  writer.AddU32("tokenizer.ggml.bos_token_id", 1);
  writer.AddU32("tokenizer.ggml.eos_token_id", 2);
  writer.AddBool("tokenizer.ggml.add_bos_token", true);
}

void Declare(GgufWriter& writer, const RandomModel& model,
             const std::vector<RandomTensor>& tensors) {
  AddConfig(writer, model);
  AddVocabulary(writer, model.config.vocab_size);
  for (const RandomTensor& tensor : tensors)
    writer.Declare(tensor.name, tensor.dtype, tensor.shape);
}

void FillOnes(std::span<std::byte> bytes) {
  const float one = 1;
  for (size_t i = 0; i < bytes.size(); i += sizeof one)
    std::copy_n(reinterpret_cast<const std::byte*>(&one), sizeof one, &bytes[i]);
}

uint64_t BytesOf(const RandomTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t n : tensor.shape) elements *= n;
  return RowBytes(tensor.dtype, elements);
}

}  // namespace

uint64_t RandomModelBytes(const RandomModel& model) {
  GgufWriter writer;
  Declare(writer, model, TensorList(model).tensors());
  return writer.FileBytes();
}

bool WriteRandomModel(const RandomModel& model, const std::string& path,
                      const std::function<bool(uint64_t done, uint64_t total)>& on_progress) {
  const TensorList list(model);
  GgufWriter writer;
  Declare(writer, model, list.tensors());
  const uint64_t total = writer.FileBytes();
  writer.Begin(path);
  uint64_t done = 0, seed = model.seed;
  std::vector<std::byte> chunk;
  for (const RandomTensor& tensor : list.tensors()) {
    RandomWeights weights(tensor.dtype, tensor.deviation, ++seed);
    for (uint64_t left = BytesOf(tensor); left > 0; left -= chunk.size()) {
      const size_t most = kChunkBlocks * static_cast<size_t>(Info(tensor.dtype).block_bytes);
      chunk.resize(static_cast<size_t>(std::min<uint64_t>(left, most)));
      if (tensor.deviation == 0)
        FillOnes(chunk);
      else
        weights.Fill(chunk);
      writer.Append(chunk);
      done += chunk.size();
      if (!on_progress(done, total)) return false;
    }
  }
  writer.Finish();
  return true;
}

}  // namespace mixtral
