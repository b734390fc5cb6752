// SPDX-License-Identifier: Apache-2.0
// Measures by whole passes: a pass reads every chunk once, shared out as the engine shares out its
// tiles.
#include "measure/ceilings.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace mixtral {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr size_t kLeastBytes = size_t{64} << 20;
constexpr int kTasksPerThread = 8;  // of a peak: threads end within an eighth of each other

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void ThrowMemoryFile(size_t n_bytes) {
  Throw(ErrorCode::kIo, "read probe: expected a memory file of {} bytes, found: {}", n_bytes,
        std::generic_category().message(errno));
}

/// A mapping of page-cached pages without a name on any disk. They are written once, so that every
/// page is there.
void* MapMemoryFile(size_t n_bytes) {
  const int fd = memfd_create("mixtral-read-probe", MFD_CLOEXEC);
  if (fd < 0) ThrowMemoryFile(n_bytes);
  void* mapping = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(n_bytes)) == 0)
    mapping = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  close(fd);
  errno = error;
  if (mapping == MAP_FAILED) ThrowMemoryFile(n_bytes);
  std::memset(mapping, 1, n_bytes);
  return mapping;
}

}  // namespace

size_t UncachedBytes(uint64_t l3_bytes) {
  return std::max<size_t>(kLeastBytes, static_cast<size_t>(l3_bytes) * 4 + kChunkBytes);
}

ReadProbe::ReadProbe(const Checkpoint* checkpoint, size_t n_bytes) {
  if (checkpoint != nullptr)
    for (const std::string& name : checkpoint->Names())
      AddChunks(checkpoint->Find(name)->bytes, n_bytes);
  if (size_ < n_bytes) {
    chunks_.clear();
    size_ = 0;
    own_ = MapMemoryFile(n_bytes);
    own_size_ = n_bytes;
    AddChunks({static_cast<const std::byte*>(own_), own_size_}, n_bytes);
  }
  sums_.resize(chunks_.size());
}

ReadProbe::~ReadProbe() {
  if (own_ != nullptr) munmap(own_, own_size_);
}

void ReadProbe::AddChunks(std::span<const std::byte> bytes, size_t most) {
  for (size_t at = 0; at < bytes.size() && size_ < most; at += kChunkBytes) {
    const std::span<const std::byte> chunk =
        bytes.subspan(at, std::min(kChunkBytes, bytes.size() - at));
    chunks_.push_back(chunk);
    size_ += chunk.size();
  }
}

double ReadProbe::BytesPerSecond(ThreadPool& pool, kernels::ReadWordsFn* read, double seconds) {
  const auto pass = [&] {
    pool.Run(static_cast<int>(chunks_.size()), [&](int tile, int) noexcept {
      const auto i = static_cast<size_t>(tile);
      sums_[i] ^= read(chunks_[i].data(), chunks_[i].size());
    });
  };
  pass();  // maps the pages and reads what is not in memory yet
  const auto start = Clock::now();
  int64_t n_passes = 0;
  do {
    pass();
    ++n_passes;
  } while (SecondsSince(start) < seconds);
  return static_cast<double>(size_) * static_cast<double>(n_passes) / SecondsSince(start);
}

double OpsPerSecond(ThreadPool& pool, kernels::PeakFn* peak, double seconds) {
  constexpr int64_t kTrialPasses = 1 << 14;
  const auto trial = Clock::now();
  peak(kTrialPasses);
  const double per_pass = std::max(SecondsSince(trial), 1e-9) / kTrialPasses;
  const auto passes =
      std::max<int64_t>(1, static_cast<int64_t>(seconds / kTasksPerThread / per_pass));
  const int n_tasks = kTasksPerThread * pool.n_threads();
  const int64_t ops_per_task = peak(1) * passes;
  const auto start = Clock::now();
  pool.Run(n_tasks, [&](int, int) noexcept { peak(passes); });
  return static_cast<double>(ops_per_task) * n_tasks / SecondsSince(start);
}

}  // namespace mixtral
