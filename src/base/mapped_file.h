// SPDX-License-Identifier: Apache-2.0
// A read-only memory mapping of a whole file. Used by io/ for every checkpoint; knows nothing about
// formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace mixtral {

class MappedFile {
 public:
  /// Maps path. Throws Error{kNotFound, kIo} naming the path; a directory or an unreadable file is
  /// refused. An empty file gives an empty span.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  void WillNeed(size_t offset, size_t length) const;  // hint: start reading
  void DontNeed(size_t offset, size_t length) const;  // hint: pages may go

  /// Called with the bytes done since the call before.
  using OnBytes = std::function<void(size_t n_bytes)>;
  /// Reads the whole file into memory of this process, which takes the mapping's place at the same
  /// address: bytes() stays valid, and nothing depends on the file any more. Throws
  /// Error{kOutOfMemory}, and Error{kIo} when the file has been replaced since it was mapped.
  void ReadIntoMemory(const OnBytes& on_bytes);
  /// Locks bytes() into memory (mlock), which reads what is not there yet. Throws
  /// Error{kOutOfMemory} saying how to raise the limit.
  void Lock(const OnBytes& on_bytes) const;

 private:
  static constexpr size_t kPiece = size_t{64} << 20;  // read or locked between two reports

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool is_file_ = true;  // the bytes are the file's own pages
  uint64_t device_ = 0, inode_ = 0;
};

/// Reads a whole small file (configs, tokenizers) into memory. Throws kNotFound, kIo;
/// kInvalidArgument above max_bytes.
std::string ReadTextFile(const std::string& path, size_t max_bytes = size_t{256} << 20);

/// Writes a file under a temporary name in the same folder, flushes it to disk and renames it over
/// path, so that a reader sees the old file or the whole new one. Throws kIo naming path and
/// reason.
void WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace mixtral
