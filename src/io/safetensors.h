// SPDX-License-Identifier: Apache-2.0
// The safetensors format: a strict parser of bytes (fuzzed) and a streaming writer. Used by the
// folder checkpoints and by commands that write tensors (mixtral logits).
#pragma once

#include <cstddef>
#include <cstdio>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/view.h"

namespace mixtral {

/// A tensor of 8-bit floats (E4M3), which no kernel reads: fp8_weights.h converts it.
struct Fp8Tensor {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // one an element
};

struct SafetensorsFile {
  std::vector<std::pair<std::string, TensorView>> tensors;  // in order of their data
  std::vector<Fp8Tensor> fp8;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Views into bytes, which must outlive the result. Throws Error{kCorrupt, kUnsupported} naming the
/// tensor as "WHERE:TENSOR"; where is a file's path.
SafetensorsFile ParseSafetensors(std::span<const std::byte> bytes,
                                 std::string_view where = "safetensors");

/// Writes a safetensors file to a temporary name and renames it at Finish. Declare all tensors,
/// then append their data in the same order in pieces of any size. A writer that is destroyed
/// without Finish removes its temporary file.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(std::string path);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  void Declare(std::string name, DType dtype, std::vector<int64_t> shape);  // F32, F16, BF16, I32
  void Append(std::span<const std::byte> data);  // the first call writes the header
  void Finish();                                 // throws kIo; kInternal when bytes are missing

 private:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    size_t begin, end;
  };
  void WriteHeader();

  std::string path_, temporary_;
  std::vector<Entry> entries_;
  std::FILE* file_ = nullptr;
  size_t declared_bytes_ = 0, written_bytes_ = 0;
  bool header_written_ = false, finished_ = false;
};

}  // namespace mixtral
