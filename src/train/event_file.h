// SPDX-License-Identifier: Apache-2.0
// TensorBoard event files: TFRecord frames (length, masked CRC-32C, data, masked CRC-32C) around
// hand-written protobuf Events with scalar values. No protobuf library, no LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace mixtral::train {

using Scalars = std::vector<std::pair<std::string, float>>;

/// CRC-32C (Castagnoli), reflected polynomial 0x82F63B78.
uint32_t Crc32c(std::span<const std::byte> bytes);

class EventFile {
 public:
  /// Creates FOLDER/events.out.tfevents.<time>.<pid>. Throws kIo.
  explicit EventFile(const std::string& folder);
  void Add(int64_t step, double wall_time, const Scalars& scalars);  // flushed at once
  const std::string& path() const { return path_; }

 private:
  void WriteRecord(const std::string& event);
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

struct EventRecord {
  int64_t step = 0;
  Scalars scalars;
};
/// Reads a file back, checking every CRC. Throws kCorrupt. What follows a torn last frame is
/// ignored.
std::vector<EventRecord> ReadEventFile(const std::string& path);

}  // namespace mixtral::train
