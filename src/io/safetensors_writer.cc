// SPDX-License-Identifier: Apache-2.0
// The streaming writer of safetensors.h: header first, then the tensors' bytes in the order of
// their declaration, under a temporary name until the file is whole.
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "io/shape.h"

namespace mixtral {
namespace {

constexpr size_t kHeaderAlignment = 8;

std::string Reason() { return std::generic_category().message(errno); }

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::string path)
    : path_(std::move(path)), temporary_(fmt::format("{}.{}.tmp", path_, ::getpid())) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path_, ignored);
  // Renaming over a device or a pipe would replace it.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    Throw(ErrorCode::kIo, "create file: expected a regular file or none, found another kind, in {}",
          path_);
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (file_ == nullptr)
    Throw(ErrorCode::kIo, "create file: expected to write {}, found {}", path_, Reason());
}

SafetensorsWriter::~SafetensorsWriter() {
  if (finished_) return;
  if (file_ != nullptr) std::fclose(file_);
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void SafetensorsWriter::Declare(std::string name, DType dtype, std::vector<int64_t> shape) {
  Check(!header_written_, "SafetensorsWriter: Declare after Append");
  Check(
      dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kI32,
      "SafetensorsWriter: the format has no block types");
  const std::optional<uint64_t> bytes = TensorBytes(dtype, shape);
  Check(bytes.has_value(), "SafetensorsWriter: a shape that has no size");
  const size_t begin = declared_bytes_;
  declared_bytes_ += *bytes;
  entries_.push_back({std::move(name), dtype, std::move(shape), begin, declared_bytes_});
}

void SafetensorsWriter::WriteHeader() {
  // Written piece by piece: a JSON object of many members is slow to grow, and order matters.
  std::string header = "{";
  for (const Entry& entry : entries_) {
    if (header.size() > 1) header += ',';
    header += fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                          Json(entry.name).Dump(), Name(entry.dtype), ShapeText(entry.shape),
                          entry.begin, entry.end);
  }
  header += '}';
  while (header.size() % kHeaderAlignment != 0) header += ' ';
  const uint64_t length = header.size();
  if (std::fwrite(&length, sizeof length, 1, file_) != 1 ||
      std::fwrite(header.data(), 1, header.size(), file_) != header.size())
    Throw(ErrorCode::kIo, "write: expected {} header bytes written to {}, found {}", length, path_,
          Reason());
  header_written_ = true;
}

void SafetensorsWriter::Append(std::span<const std::byte> data) {
  Check(!finished_, "SafetensorsWriter: Append after Finish");
  if (!header_written_) WriteHeader();
  if (data.size() > declared_bytes_ - written_bytes_)
    Throw(ErrorCode::kInternal, "write: expected at most {} tensor bytes, found {}, in {}",
          declared_bytes_, written_bytes_ + data.size(), path_);
  if (!data.empty() && std::fwrite(data.data(), 1, data.size(), file_) != data.size())
    Throw(ErrorCode::kIo, "write: expected {} bytes written to {}, found {}", data.size(), path_,
          Reason());
  written_bytes_ += data.size();
}

void SafetensorsWriter::Finish() {
  Check(!finished_, "SafetensorsWriter: Finish twice");
  if (!header_written_) WriteHeader();
  if (written_bytes_ != declared_bytes_)
    Throw(ErrorCode::kInternal, "write: expected {} tensor bytes, found {}, in {}", declared_bytes_,
          written_bytes_, path_);
  const bool flushed = std::fflush(file_) == 0 && ::fsync(::fileno(file_)) == 0;
  const std::string reason = flushed ? "" : Reason();
  const bool closed = std::fclose(file_) == 0;
  file_ = nullptr;
  if (!flushed || !closed)
    Throw(ErrorCode::kIo, "write: expected {} flushed to disk, found {}", path_,
          flushed ? Reason() : reason);
  std::error_code error;
  std::filesystem::rename(temporary_, path_, error);
  if (error)
    Throw(ErrorCode::kIo, "rename: expected to replace {}, found {}", path_, error.message());
  finished_ = true;
}

}  // namespace mixtral
