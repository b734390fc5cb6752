// SPDX-License-Identifier: Apache-2.0
// A file that is written piece by piece under a temporary name and takes its own name when it is
// whole, so that a reader sees the old file or the whole new one, and nothing is left of one that
// was given up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mixtral {

class OutputFile {
 public:
  /// Creates "PATH.PID.N.tmp". A link keeps pointing where it did: its target is replaced. Throws
  /// Error{kIo, kNotFound} naming path and reason, also where path is a folder, device or pipe.
  explicit OutputFile(const std::string& path);
  /// Removes what was written unless Finish came back.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void Write(std::span<const std::byte> bytes);
  /// Flushes to disk and renames.
  void Finish();
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  std::string target_, temporary_;
  int fd_ = -1;
  uint64_t bytes_written_ = 0;
  bool finished_ = false;
};

}  // namespace mixtral
