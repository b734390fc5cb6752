// SPDX-License-Identifier: Apache-2.0
// Owned, 64-byte-aligned memory: AlignedBuffer for one block, Arena for scratch carved from one
// block per forward pass.
#pragma once

#include <cstddef>
#include <span>

namespace mixtral {

inline constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 register

constexpr size_t AlignUp(size_t n, size_t alignment = kAlignment) {
  return (n + alignment - 1) / alignment * alignment;
}

/// Zero-filled, 64-byte-aligned, not resizable. Throws Error{kOutOfMemory} with the size asked for.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size);
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// Bump allocator over one AlignedBuffer. Alloc never allocates memory: asking for more than is
/// left is our bug (Check).
class Arena {
 public:
  explicit Arena(size_t size) : buffer_(size) {}

  template <class T>
  T* Alloc(size_t count) {
    return static_cast<T*>(AllocBytes(count * sizeof(T)));
  }
  void* AllocBytes(size_t size);  // 64-byte aligned, contents unspecified
  void Reset() { used_ = 0; }
  size_t used() const { return used_; }
  size_t capacity() const { return buffer_.size(); }

 private:
  AlignedBuffer buffer_;
  size_t used_ = 0;
};

}  // namespace mixtral
