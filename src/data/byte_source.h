// SPDX-License-Identifier: Apache-2.0
// A file as a stream of bytes, plain, gzip or zstd: the content's first bytes decide, not the name.
// The only face of zlib and libzstd. Used by the line reader and for whole files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace mixtral::data {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills out from its beginning; fewer bytes than its size only at the end of the file. Throws
  /// Error{kCorrupt, kIo} naming the file for damaged or truncated compressed data.
  virtual size_t Read(std::span<char> out) = 0;
  /// Bytes of the file on disk read so far: for progress.
  virtual uint64_t n_file_bytes() const = 0;
};

/// Throws Error{kNotFound, kIo} naming path.
std::unique_ptr<ByteSource> OpenByteSource(const std::string& path);

/// The next max_bytes, fewer at the end of the file; memory grows with what is there.
std::string ReadUpTo(ByteSource& source, size_t max_bytes);

}  // namespace mixtral::data
