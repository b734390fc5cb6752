// SPDX-License-Identifier: Apache-2.0
// Any checkpoint on disk as named, typed, mapped tensors plus its metadata. The content decides
// what a path is, never its extension. Everything is validated at opening: names unique, types
// known, sizes equal to shapes, offsets inside the file, no overlaps. Knows nothing of what the
// tensors mean.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/view.h"

namespace mixtral {

enum class CheckpointKind : uint8_t { kHuggingFace, kMistral, kGguf };
std::string_view CheckpointKindName(CheckpointKind kind);  // "Hugging Face safetensors", ...

/// The vocabulary that a GGUF file carries (tokenizer.ggml.*).
struct GgufVocabulary {
  std::string model;  // "llama" = SentencePiece BPE; others are refused by text/
  std::vector<std::string> tokens;
  std::vector<float> scores;  // same length
  std::vector<int32_t>
      types;  // same length: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::optional<int32_t> bos_id, eos_id, unknown_id;
  bool add_bos = true, add_eos = false, add_space_prefix = true;
};

enum class WeightMemory : uint8_t {
  kMapped,  // the files' own pages, read when they are first used, and the system may drop them
  kRead,    // read at opening into memory of this process
};
enum class LockMemory : uint8_t { kNo, kYes };

/// How the weights' bytes are held.
struct OpenOptions {
  WeightMemory memory = WeightMemory::kMapped;
  LockMemory lock = LockMemory::kNo;  // kYes: read at opening, and never swapped out or dropped
  /// While files are read or locked: bytes so far, bytes of all.
  std::function<void(uint64_t done, uint64_t total)> on_progress = {};
};

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual CheckpointKind kind() const = 0;
  /// The format for people: CheckpointKindName, and what else there is to say.
  virtual std::string format() const { return std::string(CheckpointKindName(kind())); }
  virtual const std::string& path() const = 0;
  virtual std::vector<std::string> Names() const = 0;  // file order
  /// nullptr when absent. A tensor that its file holds in another form is converted at the first
  /// call, which may take seconds and throw what Look could not see.
  virtual const TensorView* Find(std::string_view name) const = 0;
  /// Type, shape and size as Find gives them, but the bytes of a tensor that was not converted yet
  /// are not there: data() is nullptr. Costs nothing.
  virtual const TensorView* Look(std::string_view name) const { return Find(name); }
  /// "FILE:name" for messages; the shard that holds the tensor.
  virtual std::string Where(std::string_view name) const = 0;

  /// config.json, params.json, or the GGUF metadata as one flat object (arrays of more than 64
  /// items left out).
  virtual const Json& config() const = 0;
  /// The file that config() came from, for messages.
  virtual std::string config_path() const { return path(); }
  virtual std::optional<Json> generation_config() const = 0;
  virtual std::optional<std::string> sentencepiece_model()
      const = 0;  // bytes of tokenizer.model beside the weights
  /// Bytes of tokenizer.json beside Hugging Face weights; its added tokens are in it.
  virtual std::optional<std::string> tokenizer_json() const { return std::nullopt; }
  /// Bytes of another small file of a Hugging Face folder: tokenizer_config.json,
  /// added_tokens.json.
  virtual std::optional<std::string> side_file(std::string_view /*name*/) const {
    return std::nullopt;
  }
  virtual const GgufVocabulary* gguf_vocabulary()
      const = 0;  // nullptr unless GGUF with a vocabulary
  virtual std::optional<std::string> chat_template() const = 0;  // Jinja text, uninterpreted
  virtual uint64_t FileBytes() const = 0;                        // of all weight files

  /// Holds the weights as options say; views stay valid. Throws Error{kOutOfMemory, kIo}. A
  /// checkpoint without files of its own has nothing to do.
  virtual void HoldWeights(const OpenOptions& /*options*/) {}
};

/// Opens a GGUF file, a folder with config.json and safetensors, or a folder with params.json and
/// consolidated.safetensors or consolidated.NN.pt(h). A folder that has both takes the Hugging Face
/// set and says so in the log. Throws Error{kNotFound, kCorrupt, kUnsupported, kIo}: "what:
/// expected X, found Y, in FILE:tensor"; Error{kOutOfMemory} where options ask for more memory than
/// there is.
std::unique_ptr<Checkpoint> OpenCheckpoint(const std::string& path,
                                           const OpenOptions& options = {});

}  // namespace mixtral
