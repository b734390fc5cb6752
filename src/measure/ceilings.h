// SPDX-License-Identifier: Apache-2.0
// The two speeds that bound every engine on this machine, measured: reading mapped file pages, and
// arithmetic out of registers. Used by `mixtral bench` and `mixtral info`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "kernels/kernel_table.h"

namespace mixtral {

/// Bytes that no cache holds: more than four times all third-level caches, at least 64 MiB.
size_t UncachedBytes(uint64_t l3_bytes);

/// File-backed, page-cached memory to read: weights of a checkpoint, or a file of its own.
class ReadProbe {
 public:
  /// The checkpoint's own weights where they are at least n_bytes (which reads them from disk once,
  /// if they are not cached), else a memory file of n_bytes. Throws Error{kIo}.
  ReadProbe(const Checkpoint* checkpoint, size_t n_bytes);
  ~ReadProbe();
  ReadProbe(const ReadProbe&) = delete;
  ReadProbe& operator=(const ReadProbe&) = delete;

  /// Whole passes of all threads over it, until `seconds` are over: bytes per second.
  double BytesPerSecond(ThreadPool& pool, kernels::ReadWordsFn* read, double seconds);
  size_t size() const { return size_; }

 private:
  void AddChunks(std::span<const std::byte> bytes, size_t most);

  std::vector<std::span<const std::byte>> chunks_;
  std::vector<uint64_t> sums_;  // per chunk, so that reading cannot be left out
  size_t size_ = 0;
  void* own_ = nullptr;  // mapping of the memory file
  size_t own_size_ = 0;
};

/// All threads in the loop at once for about `seconds`: operations per second.
double OpsPerSecond(ThreadPool& pool, kernels::PeakFn* peak, double seconds);

}  // namespace mixtral
