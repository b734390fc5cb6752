// SPDX-License-Identifier: Apache-2.0
// Strict parser of the safetensors format (docs/format.md): 8 bytes of header length, a JSON
// header, then the tensors' bytes without holes or overlaps. The writer is safetensors_writer.cc.
#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "io/shape.h"
#include "io/sniff.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxRank = 4;
constexpr std::string_view kMetadataKey = "__metadata__";

constexpr std::array<std::pair<std::string_view, DType>, 4> kReadableTypes = {{
    {"F32", DType::kF32},
    {"F16", DType::kF16},
    {"BF16", DType::kBF16},
    {"I32", DType::kI32},
}};
// The format's other types: named, so that an unsupported file is told from a broken one.
constexpr std::array<std::string_view, 17> kOtherTypes = {
    "BOOL",        "F4",  "F6_E2M3", "F6_E3M2", "U8",  "I8",  "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ",
    "F8_E5M2FNUZ", "I16", "U16",     "U32",     "I64", "U64", "F64",     "C64"};

constexpr std::string_view kFp8 = "F8_E4M3";

struct Entry {
  std::string name;
  std::string_view type;
  TensorView view;  // of FP8: everything but the type
  uint64_t begin = 0, end = 0;
};

std::string_view ReadHeaderText(std::span<const std::byte> bytes, std::string_view where) {
  if (bytes.size() < kLengthBytes)
    Throw(ErrorCode::kCorrupt, "header: expected at least {} bytes, found {} ({}), in {}",
          kLengthBytes, bytes.size(), ContentKindText(Sniff(bytes)), where);
  const auto length = LoadUnaligned<uint64_t>(bytes.data());
  const uint64_t limit = std::min<uint64_t>(kMaxHeaderBytes, bytes.size() - kLengthBytes);
  const bool is_safetensors = bytes.size() > kLengthBytes && bytes[kLengthBytes] == std::byte{'{'};
  if (!is_safetensors)
    Throw(ErrorCode::kCorrupt,
          "content: expected a safetensors file, found what looks like {}, in {}",
          ContentKindText(Sniff(bytes)), where);
  if (length > limit)
    Throw(ErrorCode::kCorrupt, "header length: expected at most {} bytes, found {}, in {}", limit,
          length, where);
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, static_cast<size_t>(length)};
}

// place, in what follows, is "FILE:TENSOR". A wrong JSON type is reported by Json itself with the
// path in the header, which holds the tensor's name.
DType ReadType(const Json& info, std::string_view place) {
  const std::string name = info.At("dtype").AsString();
  for (const auto& [text, dtype] : kReadableTypes)
    if (text == name) return dtype;
  const bool known = std::find(kOtherTypes.begin(), kOtherTypes.end(), name) != kOtherTypes.end();
  Throw(known ? ErrorCode::kUnsupported : ErrorCode::kCorrupt,
        "tensor dtype: expected F32, F16, BF16, F8_E4M3 or I32, found {} ({}), in {}",
        Printable(name), known ? "not supported" : "no such type", place);
}

std::vector<int64_t> ReadShape(const Json& info, std::string_view place) {
  std::vector<int64_t> shape = info.At("shape").AsIntArray();
  if (shape.size() > kMaxRank)
    Throw(ErrorCode::kUnsupported, "tensor shape: expected at most {} dimensions, found {}, in {}",
          kMaxRank, shape.size(), place);
  for (const int64_t n : shape)
    if (n < 0)
      Throw(ErrorCode::kCorrupt, "tensor shape: expected dimensions of at least 0, found {}, in {}",
            ShapeText(shape), place);
  return shape;
}

void ReadRange(const Json& info, uint64_t data_bytes, std::string_view place, Entry* entry) {
  const std::vector<int64_t> offsets = info.At("data_offsets").AsIntArray();
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0])
    Throw(ErrorCode::kCorrupt,
          "data_offsets: expected [begin, end] with 0 <= begin <= end, found {}, in {}",
          Printable(ShapeText(offsets)), place);
  entry->begin = static_cast<uint64_t>(offsets[0]);
  entry->end = static_cast<uint64_t>(offsets[1]);
  if (entry->end > data_bytes)
    Throw(
        ErrorCode::kCorrupt,
        "tensor data: expected to end within the file's {} data bytes, found an end of {} (a file "
        "cut short?), in {}",
        data_bytes, entry->end, place);
}

Entry ReadEntry(const std::string& name, const Json& info, std::span<const std::byte> data,
                std::string_view place) {
  Entry entry;
  entry.name = name;
  const bool is_fp8 = info.At("dtype").AsString() == kFp8;
  if (!is_fp8) entry.view.dtype = ReadType(info, place);
  entry.type = is_fp8 ? kFp8 : Name(entry.view.dtype);
  const std::vector<int64_t> shape = ReadShape(info, place);
  entry.view.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), entry.view.shape.begin());
  ReadRange(info, data.size(), place, &entry);
  std::optional<uint64_t> expected = TensorBytes(is_fp8 ? DType::kF16 : entry.view.dtype, shape);
  if (expected && is_fp8) *expected /= 2;
  if (!expected)
    Throw(ErrorCode::kCorrupt, "tensor shape: expected a size below 2^63 bytes, found {} {}, in {}",
          entry.type, ShapeText(shape), place);
  if (*expected != entry.end - entry.begin)
    Throw(ErrorCode::kCorrupt, "tensor data size: expected {} bytes ({} {}), found {}, in {}",
          *expected, entry.type, ShapeText(shape), entry.end - entry.begin, place);
  entry.view.bytes = data.subspan(entry.begin, entry.end - entry.begin);
  return entry;
}

/// The tensors must tile the data exactly: then no byte belongs to two of them, and none hides.
void CheckTiling(const std::vector<Entry>& entries, uint64_t data_bytes, std::string_view where) {
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != end)
      Throw(ErrorCode::kCorrupt,
            "tensor data: expected to begin at byte {}, where the tensor before it ends, found {} "
            "({}), in {}:{}",
            end, entry.begin, entry.begin < end ? "an overlap" : "a hole", where,
            Printable(entry.name));
    end = entry.end;
  }
  if (end != data_bytes)
    Throw(ErrorCode::kCorrupt, "data: expected {} bytes, found {}, in {}", end, data_bytes, where);
}

}  // namespace

SafetensorsFile ParseSafetensors(std::span<const std::byte> bytes, std::string_view where) {
  const std::string_view text = ReadHeaderText(bytes, where);
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + text.size());
  const Json header = Json::Parse(text, where);
  SafetensorsFile file;
  std::vector<Entry> entries;
  for (const std::string& name : header.Keys()) {
    const Json info = header.At(name);
    if (name != kMetadataKey) {
      entries.push_back(ReadEntry(name, info, data, fmt::format("{}:{}", where, Printable(name))));
      continue;
    }
    for (const std::string& key : info.Keys())
      file.metadata.emplace_back(key, info.At(key).AsString());
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  CheckTiling(entries, data.size(), where);
  file.tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    const auto shape = std::span(entry.view.shape).first(static_cast<size_t>(entry.view.rank));
    if (entry.type == kFp8)
      file.fp8.push_back({std::move(entry.name), {shape.begin(), shape.end()}, entry.view.bytes});
    else
      file.tensors.emplace_back(std::move(entry.name), entry.view);
  }
  return file;
}

}  // namespace mixtral
