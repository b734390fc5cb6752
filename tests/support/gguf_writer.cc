// SPDX-License-Identifier: Apache-2.0
// Little-endian bytes appended to three strings (metadata, tensor table, data) and joined at the
// end.
#include "support/gguf_writer.h"

#include <array>
#include <cstring>
#include <span>

#include "base/mapped_file.h"

namespace mixtral::testing {

namespace {

constexpr size_t kDataAlignment = 32;
// Value types of the metadata.
constexpr uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9;

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

/// ggml's type id, by DType.
constexpr std::array<uint32_t, kNumDTypes> kGgmlTypes = {0,  1,  30, 8,  2,  3,  6,  7,
                                                         10, 11, 12, 13, 14, 20, 23, 26};

void PadTo(std::string& out, size_t alignment) {
  out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
}

}  // namespace

void GgufWriter::Key(std::string_view key, uint32_t type) {
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

void GgufWriter::AddStrings(std::string_view key, const std::vector<std::string>& values) {
  ArrayHead(key, kString, values.size());
  for (const std::string& value : values) PutString(keys_, value);
}

void GgufWriter::AddF32s(std::string_view key, const std::vector<float>& values) {
  ArrayHead(key, kF32, values.size());
  for (const float value : values) Put(keys_, value);
}

void GgufWriter::AddI32s(std::string_view key, const std::vector<int32_t>& values) {
  ArrayHead(key, kI32, values.size());
  for (const int32_t value : values) Put(keys_, value);
}

void GgufWriter::AddTensor(std::string_view name, DType dtype, const std::vector<int64_t>& shape,
                           const std::vector<std::byte>& bytes) {
  PutString(infos_, name);
  Put<uint32_t>(infos_, static_cast<uint32_t>(shape.size()));
  for (size_t i = shape.size(); i > 0; --i) Put<int64_t>(infos_, shape[i - 1]);
  Put(infos_, kGgmlTypes[Index(dtype)]);
  PadTo(data_, kDataAlignment);
  Put<uint64_t>(infos_, data_.size());
  data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ++n_tensors_;
}

void GgufWriter::Write(const std::string& path) const {
  std::string file = "GGUF";
  Put(file, version_);
  Put(file, n_tensors_);
  Put(file, n_keys_);
  file += keys_;
  file += infos_;
  PadTo(file, kDataAlignment);
  file += data_;
  PadTo(file, kDataAlignment);
  WriteFileAtomically(path, std::as_bytes(std::span(file)));
}

}  // namespace mixtral::testing
