// SPDX-License-Identifier: Apache-2.0
// Several gzip members or zstd frames after each other are one stream, as the tools that write them
// in parallel make them.
#include "data/byte_source.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace mixtral::data {
namespace {

class PlainFile final : public ByteSource {
 public:
  explicit PlainFile(const std::string& path)
      : path_(path), file_(std::fopen(path.c_str(), "rb"), &std::fclose) {
    if (!file_) {
      Throw(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
            "{}: expected a readable file, found: {}", path, std::strerror(errno));
    }
  }
  size_t Read(std::span<char> out) override {
    const size_t n = std::fread(out.data(), 1, out.size(), file_.get());
    if (n < out.size() && std::ferror(file_.get()) != 0)
      Throw(ErrorCode::kIo, "{}: cannot be read: {}", path_, std::strerror(errno));
    n_read_ += n;
    return n;
  }
  uint64_t n_file_bytes() const override { return n_read_; }
  std::string Peek(size_t n) {
    std::string head(n, '\0');
    head.resize(Read(head));
    std::rewind(file_.get());
    n_read_ = 0;
    return head;
  }

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  uint64_t n_read_ = 0;
};

/// Compressed input in pieces, shared by both decompressors.
class Input {
 public:
  explicit Input(std::unique_ptr<ByteSource> file) : file_(std::move(file)), buffer_(1 << 16) {}
  /// The next piece, empty at the end of the file.
  std::span<char> Next() { return {buffer_.data(), file_->Read(buffer_)}; }
  uint64_t n_file_bytes() const { return file_->n_file_bytes(); }

 private:
  std::unique_ptr<ByteSource> file_;
  std::vector<char> buffer_;
};

class GzipFile final : public ByteSource {
 public:
  GzipFile(std::unique_ptr<ByteSource> file, std::string path)
      : input_(std::move(file)), path_(std::move(path)) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK)  // 15: the largest window; 16: gzip only
      Throw(ErrorCode::kOutOfMemory, "{}: no memory to decompress it", path_);
  }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;
  ~GzipFile() override { inflateEnd(&stream_); }

  size_t Read(std::span<char> out) override {
    size_t n = 0;
    while (n < out.size()) {
      if (stream_.avail_in == 0 && !Refill()) break;
      const size_t room = std::min<size_t>(out.size() - n, 1 << 30);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + n);
      stream_.avail_out = static_cast<uInt>(room);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      n += room - stream_.avail_out;
      if (status == Z_STREAM_END) {
        is_inside_ = false;
        inflateReset(&stream_);
      } else if (status == Z_OK || status == Z_BUF_ERROR) {
        is_inside_ = true;
      } else {
        Throw(ErrorCode::kCorrupt, "{}: damaged gzip data: {}", path_,
              stream_.msg != nullptr ? stream_.msg : "no gzip header");
      }
    }
    return n;
  }
  uint64_t n_file_bytes() const override { return input_.n_file_bytes(); }

 private:
  bool Refill() {
    const std::span<char> next = input_.Next();
    stream_.next_in = reinterpret_cast<Bytef*>(next.data());
    stream_.avail_in = static_cast<uInt>(next.size());
    if (next.empty() && is_inside_)
      Throw(ErrorCode::kCorrupt, "{}: the gzip data ends in the middle", path_);
    return !next.empty();
  }

  Input input_;
  std::string path_;
  z_stream stream_ = {};
  bool is_inside_ = false;  // a member has begun and not ended
};

class ZstdFile final : public ByteSource {
 public:
  ZstdFile(std::unique_ptr<ByteSource> file, std::string path)
      : input_(std::move(file)),
        path_(std::move(path)),
        stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    if (!stream_) Throw(ErrorCode::kOutOfMemory, "{}: no memory to decompress it", path_);
  }
  size_t Read(std::span<char> out) override {
    ZSTD_outBuffer to = {out.data(), out.size(), 0};
    while (to.pos < to.size) {
      // A frame may still hold output when its input is used up, so an empty input is tried once.
      const size_t before = to.pos;
      const bool has_input = from_.pos < from_.size || Refill();
      if (!has_input && hint_ == 0) break;
      hint_ = ZSTD_decompressStream(stream_.get(), &to, &from_);
      if (ZSTD_isError(hint_) != 0)
        Throw(ErrorCode::kCorrupt, "{}: damaged zstd data: {}", path_, ZSTD_getErrorName(hint_));
      if (!has_input && to.pos == before)
        Throw(ErrorCode::kCorrupt, "{}: the zstd data ends in the middle", path_);
    }
    return to.pos;
  }
  uint64_t n_file_bytes() const override { return input_.n_file_bytes(); }

 private:
  bool Refill() {
    const std::span<char> next = input_.Next();
    from_ = {next.data(), next.size(), 0};
    return !next.empty();
  }

  Input input_;
  std::string path_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  ZSTD_inBuffer from_ = {nullptr, 0, 0};
  size_t hint_ = 0;  // 0: between frames
};

}  // namespace

std::unique_ptr<ByteSource> OpenByteSource(const std::string& path) {
  auto file = std::make_unique<PlainFile>(path);
  const std::string head = file->Peek(4);
  if (head.starts_with("\x1F\x8B")) return std::make_unique<GzipFile>(std::move(file), path);
  if (head == "\x28\xB5\x2F\xFD") return std::make_unique<ZstdFile>(std::move(file), path);
  return file;
}

std::string ReadUpTo(ByteSource& source, size_t max_bytes) {
  std::string text;
  for (size_t used = 0; used == text.size() && used < max_bytes; text.resize(used)) {
    text.resize(std::min(max_bytes, std::max<size_t>(size_t{64} << 10, 2 * used)));
    const size_t room = text.size() - used;
    const size_t n = source.Read(std::span(text).subspan(used));
    used += n;
    if (n < room) {
      text.resize(used);
      break;
    }
  }
  return text;
}

}  // namespace mixtral::data
