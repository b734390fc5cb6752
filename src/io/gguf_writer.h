// SPDX-License-Identifier: Apache-2.0
// A streaming writer of GGUF version 3: metadata and tensor table first, then the tensors' bytes in
// the order of their declaration. The file has its name only when it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/output_file.h"
#include "tensor/dtype.h"

namespace mixtral {

class GgufWriter {
 public:
  // Metadata; every key once, all before the first Append.
  void AddString(std::string_view key, std::string_view value);
  void AddU32(std::string_view key, uint32_t value);
  void AddF32(std::string_view key, float value);
  void AddBool(std::string_view key, bool value);
  void AddStrings(std::string_view key, std::span<const std::string> values);
  void AddF32s(std::string_view key, std::span<const float> values);
  void AddI32s(std::string_view key, std::span<const int32_t> values);
  /// shape slowest first, rows of whole blocks; the file has it the other way round.
  void Declare(std::string_view name, DType dtype, std::span<const int64_t> shape);

  uint64_t FileBytes() const;  // of the whole file, from what was declared so far

  /// Creates the file and writes all but the tensors. Throws as OutputFile.
  void Begin(const std::string& path);
  /// The next bytes of the declared tensors; padding between them is the writer's affair. A tensor
  /// ends in the Append that completes it.
  void Append(std::span<const std::byte> bytes);
  /// Throws Error{kInternal} when tensor bytes are missing.
  void Finish();

 private:
  void Key(std::string_view key, uint32_t type);
  void ArrayHead(std::string_view key, uint32_t element_type, size_t n);
  std::string Head() const;

  std::string keys_, infos_;
  uint64_t n_keys_ = 0, n_tensors_ = 0;
  std::vector<uint64_t> sizes_;      // of the declared tensors
  uint64_t data_bytes_ = 0;          // with padding
  size_t current_ = 0;               // tensor that Append is in
  uint64_t written_of_current_ = 0;  // bytes
  std::unique_ptr<OutputFile> file_;
};

}  // namespace mixtral
