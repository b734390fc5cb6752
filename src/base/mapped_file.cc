// SPDX-License-Identifier: Apache-2.0
// Files through the system calls themselves, so that every error carries its path and the system's
// own reason. Hints are best effort: a file system that ignores them only costs speed.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/nearest_path.h"
#include "base/output_file.h"
#include "base/strings.h"

namespace mixtral {
namespace {

[[noreturn]] void ThrowErrno(std::string_view what, const std::string& path, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  Throw(missing ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}, found: {}{}", path, what,
        std::generic_category().message(error), missing ? NearestPathHint(path) : "");
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void Advise(std::span<const std::byte> bytes, size_t offset, size_t length, int advice) {
  if (offset >= bytes.size()) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  const size_t end = offset + std::min(length, bytes.size() - offset);
  madvise(const_cast<std::byte*>(bytes.data()) + begin, end - begin, advice);
}

size_t WholePages(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// Anonymous memory that is given up again unless it was moved elsewhere.
class NewMemory {
 public:
  NewMemory(size_t size, const std::string& path) : size_(WholePages(size)) {
    void* data = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
      Throw(ErrorCode::kOutOfMemory, "memory: expected {} to read the file into, found: {}, in {}",
            HumanBytes(size), std::generic_category().message(errno), path);
    data_ = static_cast<std::byte*>(data);
  }
  ~NewMemory() {
    if (data_ != nullptr) munmap(data_, size_);
  }
  NewMemory(const NewMemory&) = delete;
  NewMemory& operator=(const NewMemory&) = delete;
  std::byte* data() const { return data_; }
  /// Becomes what lies at `address`, read-only.
  bool MoveTo(const std::byte* address) {
    if (mprotect(data_, size_, PROT_READ) != 0) return false;
    void* target = const_cast<std::byte*>(address);
    if (mremap(data_, size_, size_, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED)
      return false;
    data_ = nullptr;
    return true;
  }

 private:
  size_t size_;
  std::byte* data_ = nullptr;
};

std::string LockLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "unknown";
  return limit.rlim_cur == RLIM_INFINITY ? "none" : HumanBytes(limit.rlim_cur);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; a regular file ignores it.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) {
    ThrowErrno("expected a readable file", path, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    Throw(ErrorCode::kIo, "{}: expected a regular file, found {}", path,
          S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket");
  }
  if (status.st_size == 0) return;
  const auto size = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) {
    ThrowErrno(fmt::format("expected to map {}", HumanBytes(size)), path, errno);
  }
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      is_file_(other.is_file_),
      device_(other.device_),
      inode_(other.inode_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(is_file_, other.is_file_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

void MappedFile::WillNeed(size_t offset, size_t length) const {
  Advise(bytes(), offset, length, MADV_WILLNEED);
}

void MappedFile::DontNeed(size_t offset, size_t length) const {
  // Pages that are not the file's would come back as zeros.
  if (is_file_) Advise(bytes(), offset, length, MADV_DONTNEED);
}

void MappedFile::ReadIntoMemory(const OnBytes& on_bytes) {
  if (size_ == 0 || !is_file_) return;
  const FileDescriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) ThrowErrno("expected a readable file", path_, errno);
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || status.st_dev != device_ || status.st_ino != inode_)
    Throw(ErrorCode::kIo, "{}: expected the file that was opened, found another in its place",
          path_);
  NewMemory memory(size_, path_);
  for (size_t at = 0; at < size_;) {
    const ssize_t n =
        pread(file.get(), memory.data() + at, std::min(kPiece, size_ - at), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ThrowErrno("expected to read it", path_, errno);
    if (n == 0)
      Throw(ErrorCode::kIo, "{}: expected {} bytes, as when it was opened, found {}", path_, size_,
            at);
    at += static_cast<size_t>(n);
    on_bytes(static_cast<size_t>(n));
  }
  if (!memory.MoveTo(data_)) ThrowErrno("expected to put its copy in its place", path_, errno);
  is_file_ = false;
}

void MappedFile::Lock(const OnBytes& on_bytes) const {
  for (size_t at = 0; at < size_; at += kPiece) {
    const size_t n = std::min(kPiece, size_ - at);
    if (mlock(data_ + at, n) != 0) {
      const int error = errno;
      Throw(ErrorCode::kOutOfMemory,
            "locking in memory: expected {} to be allowed, found: {} (the limit RLIMIT_MEMLOCK is "
            "{}; 'ulimit -l', limits.conf or systemd's LimitMEMLOCK raise it), in {}",
            HumanBytes(size_), std::generic_category().message(error), LockLimit(), path_);
    }
    on_bytes(n);
  }
}

std::string ReadTextFile(const std::string& path, size_t max_bytes) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) ThrowErrno("expected a readable file", path, errno);
  // The size is not asked for: pipes have none, and a file can grow while it is read.
  std::string text;
  size_t used = 0;
  while (true) {
    if (used == text.size()) text.resize(std::max<size_t>(size_t{16} << 10, 2 * used));
    const ssize_t n = read(file.get(), text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ThrowErrno("expected a readable file", path, errno);
    if (n == 0) break;
    used += static_cast<size_t>(n);
    if (used > max_bytes) {
      Throw(ErrorCode::kInvalidArgument, "{}: expected at most {}, found more", path,
            HumanBytes(max_bytes));
    }
  }
  text.resize(used);
  return text;
}

void WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes) {
  OutputFile file(path);
  file.Write(bytes);
  file.Finish();
}

}  // namespace mixtral
