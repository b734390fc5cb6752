// SPDX-License-Identifier: Apache-2.0
// Little-endian bytes appended to two strings (metadata, tensor table), then the data streamed.
#include "io/gguf_writer.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "io/gguf_types.h"
#include "io/shape.h"

namespace mixtral {
namespace {

constexpr uint64_t kAlignment = 32;  // of every tensor; the format's default
constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9;
constexpr uint32_t kVersion = 3;

template <class T>
void Put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

void PutString(std::string& out, std::string_view text) {
  Put<uint64_t>(out, text.size());
  out.append(text);
}

uint64_t Padded(uint64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void GgufWriter::Key(std::string_view key, uint32_t type) {
  Check(file_ == nullptr, "GgufWriter: metadata after Begin");
  PutString(keys_, key);
  Put(keys_, type);
  ++n_keys_;
}

void GgufWriter::ArrayHead(std::string_view key, uint32_t element_type, size_t n) {
  Key(key, kArray);
  Put(keys_, element_type);
  Put<uint64_t>(keys_, n);
}

void GgufWriter::AddString(std::string_view key, std::string_view value) {
  Key(key, kString);
  PutString(keys_, value);
}

void GgufWriter::AddU32(std::string_view key, uint32_t value) {
  Key(key, kU32);
  Put(keys_, value);
}

void GgufWriter::AddF32(std::string_view key, float value) {
  Key(key, kF32);
  Put(keys_, value);
}

void GgufWriter::AddBool(std::string_view key, bool value) {
  Key(key, kBool);
  Put<uint8_t>(keys_, value ? 1 : 0);
}

void GgufWriter::AddStrings(std::string_view key, std::span<const std::string> values) {
  ArrayHead(key, kString, values.size());
  for (const std::string& value : values) PutString(keys_, value);
}

void GgufWriter::AddF32s(std::string_view key, std::span<const float> values) {
  ArrayHead(key, kF32, values.size());
  for (const float value : values) Put(keys_, value);
}

void GgufWriter::AddI32s(std::string_view key, std::span<const int32_t> values) {
  ArrayHead(key, kI32, values.size());
  for (const int32_t value : values) Put(keys_, value);
}

void GgufWriter::Declare(std::string_view name, DType dtype, std::span<const int64_t> shape) {
  Check(file_ == nullptr, "GgufWriter: Declare after Begin");
  const std::optional<uint64_t> bytes = TensorBytes(dtype, shape);
  Check(bytes.has_value(), "GgufWriter: a shape of whole blocks");
  PutString(infos_, name);
  Put(infos_, static_cast<uint32_t>(shape.size()));
  for (size_t i = shape.size(); i > 0; --i) Put(infos_, shape[i - 1]);
  Put(infos_, GgmlFromDType(dtype));
  Put(infos_, data_bytes_);
  sizes_.push_back(*bytes);
  data_bytes_ += Padded(*bytes);
  ++n_tensors_;
}

std::string GgufWriter::Head() const {
  std::string head = "GGUF";
  Put(head, kVersion);
  Put(head, n_tensors_);
  Put(head, n_keys_);
  head += keys_;
  head += infos_;
  head.resize(Padded(head.size()), '\0');
  return head;
}

uint64_t GgufWriter::FileBytes() const { return Head().size() + data_bytes_; }

void GgufWriter::Begin(const std::string& path) {
  Check(file_ == nullptr, "GgufWriter: Begin twice");
  const std::string head = Head();
  file_ = std::make_unique<OutputFile>(path);
  file_->Write(std::as_bytes(std::span(head)));
}

void GgufWriter::Append(std::span<const std::byte> bytes) {
  Check(file_ != nullptr, "GgufWriter: Append before Begin");
  Check(current_ < sizes_.size() && bytes.size() <= sizes_[current_] - written_of_current_,
        "GgufWriter: more bytes than the tensor has");
  file_->Write(bytes);
  written_of_current_ += bytes.size();
  if (written_of_current_ < sizes_[current_]) return;
  constexpr std::array<std::byte, kAlignment> kZeros{};
  file_->Write(std::span(kZeros).first(Padded(written_of_current_) - written_of_current_));
  ++current_;
  written_of_current_ = 0;
}

void GgufWriter::Finish() {
  Check(file_ != nullptr, "GgufWriter: Finish before Begin");
  if (current_ != sizes_.size())
    Throw(ErrorCode::kInternal, "write: expected {} tensors, found {}", sizes_.size(), current_);
  file_->Finish();
}

}  // namespace mixtral
