// SPDX-License-Identifier: Apache-2.0
// Create, write, flush, rename by the system calls themselves, so that every error carries the
// system's own reason.
#include "base/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace mixtral {
namespace {

[[noreturn]] void ThrowErrno(std::string_view what, const std::string& path, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  Throw(missing ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}, found: {}", path, what,
        std::generic_category().message(error));
}

/// path itself, or what it links to.
std::string Resolved(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path resolved = std::filesystem::canonical(path, ignored);
  return ignored ? path : resolved.string();
}

/// The new name is durable once its folder is; not every file system can flush a folder.
void FlushFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace

OutputFile::OutputFile(const std::string& path) : target_(Resolved(path)) {
  struct stat status {};
  if (stat(target_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    // Renaming over /dev/null or a terminal would replace the device.
    Throw(ErrorCode::kIo, "{}: expected a regular file or none, found {}", path,
          S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket");
  }
  static std::atomic<int> counter{0};
  temporary_ = fmt::format("{}.{}.{}.tmp", target_, getpid(), counter.fetch_add(1));
  fd_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno("expected to create it", temporary_, errno);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) close(fd_);
  if (!finished_) unlink(temporary_.c_str());
}

void OutputFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), std::min<size_t>(bytes.size(), 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ThrowErrno("expected to write it", temporary_, errno);
    bytes = bytes.subspan(static_cast<size_t>(n));
    bytes_written_ += static_cast<uint64_t>(n);
  }
}

void OutputFile::Finish() {
  if (fsync(fd_) != 0) ThrowErrno("expected to flush it to disk", temporary_, errno);
  if (rename(temporary_.c_str(), target_.c_str()) != 0)
    ThrowErrno("expected to rename the finished file to it", target_, errno);
  finished_ = true;
  FlushFolderOf(target_);
}

}  // namespace mixtral
