// SPDX-License-Identifier: Apache-2.0
// Aligned, zeroed memory. calloc, because a large block of it costs nothing until it is touched
// (a KV cache is mostly untouched); aligned by hand, because no aligned calloc exists.
#include "base/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

// The block that calloc returned is remembered in the bytes just before the aligned ones. calloc
// aligns to 16, so there are at least 16 of them.
std::byte* AlignedCalloc(size_t size) {
  if (size > SIZE_MAX - kAlignment) return nullptr;
  auto* block = static_cast<std::byte*>(std::calloc(size + kAlignment, 1));
  if (block == nullptr) return nullptr;
  const size_t offset = kAlignment - reinterpret_cast<uintptr_t>(block) % kAlignment;
  std::byte* data = block + offset;
  std::memcpy(data - sizeof(block), &block, sizeof(block));
  return data;
}

void AlignedFree(std::byte* data) {
  if (data == nullptr) return;
  void* block = nullptr;
  std::memcpy(&block, data - sizeof(block), sizeof(block));
  std::free(block);
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t size) : data_(AlignedCalloc(size)), size_(size) {
  if (data_ == nullptr) {
    Throw(ErrorCode::kOutOfMemory, "memory: expected {} to be free, found less", HumanBytes(size));
  }
}

AlignedBuffer::~AlignedBuffer() { AlignedFree(data_); }

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  if (this != &other) {
    AlignedFree(data_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void* Arena::AllocBytes(size_t size) {
  Check(size <= capacity() - used_, "arena is full");
  std::byte* data = buffer_.data() + used_;
  used_ = std::min(AlignUp(used_ + size), capacity());
  return data;
}

}  // namespace mixtral
