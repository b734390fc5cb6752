// SPDX-License-Identifier: Apache-2.0
// A small GGUF writer for tests, written from the format's description and not from src/io, so
// that the reader is tested against something else than itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace mixtral::testing {

class GgufWriter {
 public:
  explicit GgufWriter(uint32_t version = 3) : version_(version) {}
  void AddString(std::string_view key, std::string_view value);
  void AddU32(std::string_view key, uint32_t value);
  void AddF32(std::string_view key, float value);
  void AddBool(std::string_view key, bool value);
  void AddStrings(std::string_view key, const std::vector<std::string>& values);
  void AddF32s(std::string_view key, const std::vector<float>& values);
  void AddI32s(std::string_view key, const std::vector<int32_t>& values);
  /// shape slowest first, as everywhere in this project; the file has it the other way round.
  void AddTensor(std::string_view name, DType dtype, const std::vector<int64_t>& shape,
                 const std::vector<std::byte>& bytes);
  void Write(const std::string& path) const;

 private:
  void Key(std::string_view key, uint32_t type);
  void ArrayHead(std::string_view key, uint32_t element_type, size_t n);

  uint32_t version_;
  std::string keys_, infos_, data_;
  uint64_t n_keys_ = 0, n_tensors_ = 0;
};

}  // namespace mixtral::testing
