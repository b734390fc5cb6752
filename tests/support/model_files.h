// SPDX-License-Identifier: Apache-2.0
// Writes a TinyModel as a checkpoint of every kind that the engine opens. For tests only: the
// writers trust their input.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/tiny_model.h"
#include "tensor/dtype.h"

namespace mixtral::testing {

/// config.json and model.safetensors, or n_shards files with an index. dtype F32, F16 or BF16. The
/// experts of fused_layers as transformers v5 has them (gate_up_proj, down_proj), with its name of
/// the router.
void WriteHuggingFace(const TinyModel& model, const std::string& dir, DType dtype, int n_shards = 1,
                      const std::set<int>& fused_layers = {});

/// params.json and consolidated.safetensors, q and k rows interleaved. dtype F32, F16 or BF16.
void WriteMistral(const TinyModel& model, const std::string& dir, DType dtype);

enum class TorchLayout : uint8_t {
  kPlain,   // a tensor per expert, as the first torrent and Mistral 7B
  kPacked,  // block_sparse_moe.w1/w2/w3 [E*F, D], w2 transposed; config under Hugging Face's keys
};

/// params.json and consolidated.NN.pth (packed: .pt) with the names of WriteMistral, or packed.
void WriteTorch(const TinyModel& model, const std::string& dir, DType dtype, TorchLayout layout,
                int n_files = 1);

enum class ExpertLayout : uint8_t { kMerged, kSplit };  // split: blk.N.ffn_gate.E.weight
enum class TensorOrder : uint8_t { kModel, kScattered };

struct GgufOptions {
  DType dtype = DType::kF32;  // of all matrices but the router, which is F32 like the norms
  DType router = DType::kF32;
  ExpertLayout experts = ExpertLayout::kMerged;
  bool vocabulary = true;                   // a stand-in one; left out when vocab_size is below 259
  uint32_t version = 3;                     // of the format; 2 has the same bytes
  TensorOrder order = TensorOrder::kModel;  // scattered: neighbours of the model lie far apart
  std::vector<std::pair<std::string, DType>> types = {};  // exceptions by tensor name
};

/// One GGUF file, q and k rows interleaved.
void WriteGguf(const TinyModel& model, const std::string& path, const GgufOptions& options = {});

/// The stand-in vocabulary: specials, 256 byte pieces, "\u2581", letters, a few merges, then
/// "tokN".
std::vector<std::string> StandInPieces(int vocab_size);

}  // namespace mixtral::testing
