// SPDX-License-Identifier: Apache-2.0
// A cursor over hostile little-endian bytes: every read is checked against what is left, before
// anything is allocated. Used by the GGUF parser.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "tensor/float_bits.h"

namespace mixtral {

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes, size_t position = 0)
      : bytes_(bytes), position_(position) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  /// what names the value in the error: "metadata key length".
  template <class T>
  T Read(std::string_view what) {
    Require(sizeof(T), what);
    const T value = LoadUnaligned<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  /// A 64-bit length and that many bytes; a view into the bytes.
  std::string_view ReadString(std::string_view what) {
    const auto length = Read<uint64_t>(what);
    Require(length, what);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                static_cast<size_t>(length));
    position_ += static_cast<size_t>(length);
    return text;
  }

  void Skip(uint64_t count, std::string_view what) {
    Require(count, what);
    position_ += static_cast<size_t>(count);
  }

  /// count things of at least min_size bytes each must still fit.
  void RequireItems(uint64_t count, uint64_t min_size, std::string_view what) const {
    if (count > remaining() / min_size)
      Throw(ErrorCode::kCorrupt, "{}: expected at most {} (the bytes that are left), found {}",
            what, remaining() / min_size, count);
  }

 private:
  void Require(uint64_t count, std::string_view what) const {
    if (count > remaining())
      Throw(ErrorCode::kCorrupt, "{}: expected {} bytes, found {} at byte {} (a file cut short?)",
            what, count, remaining(), position_);
  }

  std::span<const std::byte> bytes_;
  size_t position_;
};

}  // namespace mixtral
