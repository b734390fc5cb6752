// SPDX-License-Identifier: Apache-2.0
// Strict parser of GGUF (gguf.h, docs/format.md): header, metadata, tensor descriptions, then the
// tensors' bytes from the next multiple of the alignment on. Opening files is gguf_checkpoint.cc's.
#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "io/byte_reader.h"
#include "io/gguf_metadata.h"
#include "io/gguf_types.h"
#include "io/shape.h"
#include "io/sniff.h"

namespace mixtral {
namespace {

constexpr uint32_t kMinVersion = 2, kMaxVersion = 3;  // 2 and 3 differ only in byte order
constexpr int64_t kDefaultAlignment = 32, kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxRank = 4;
constexpr size_t kMaxNameBytes = 1024;
// Name length, one byte of name, rank, one dimension, type, offset.
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

struct Description {
  std::string name;
  TensorView view;
  uint64_t offset = 0, size = 0;
};

uint32_t ReadVersion(std::span<const std::byte> bytes, ByteReader* reader) {
  if (Sniff(bytes) != ContentKind::kGguf)
    Throw(ErrorCode::kCorrupt, "magic: expected GGUF, found what looks like {}",
          ContentKindText(Sniff(bytes)));
  reader->Skip(4, "magic");
  const auto version = reader->Read<uint32_t>("version");
  if (version >= kMinVersion && version <= kMaxVersion) return version;
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= kMaxVersion)
    Throw(ErrorCode::kUnsupported,
          "byte order: expected little-endian, found a big-endian GGUF file");
  Throw(ErrorCode::kUnsupported, "GGUF version: expected {} or {}, found {}", kMinVersion,
        kMaxVersion, version);
}

std::string ReadTensorName(ByteReader* reader) {
  const std::string_view name = reader->ReadString("tensor name");
  if (name.empty() || name.size() > kMaxNameBytes || !IsValidUtf8(name))
    Throw(ErrorCode::kCorrupt, "tensor name: expected 1..{} bytes of UTF-8, found '{}' ({} bytes)",
          kMaxNameBytes, Printable(name), name.size());
  return std::string(name);
}

/// GGUF counts dimensions fastest first; a TensorView slowest first.
std::vector<int64_t> ReadShape(ByteReader* reader) {
  const auto rank = reader->Read<uint32_t>("tensor rank");
  if (rank < 1 || rank > kMaxRank)
    Throw(ErrorCode::kCorrupt, "tensor rank: expected 1..{}, found {}", kMaxRank, rank);
  std::vector<int64_t> shape(rank);
  for (uint32_t i = 0; i < rank; ++i) {
    const auto n = reader->Read<uint64_t>("tensor dimension");
    if (n < 1 || n > static_cast<uint64_t>(INT64_MAX))
      Throw(ErrorCode::kCorrupt, "tensor dimension: expected 1..2^63-1, found {}", n);
    shape[rank - 1 - i] = static_cast<int64_t>(n);
  }
  return shape;
}

uint64_t SizeOf(DType dtype, const std::vector<int64_t>& shape) {
  if (shape.back() % Info(dtype).block_elements != 0)
    Throw(ErrorCode::kCorrupt, "tensor shape: expected rows of whole blocks of {} ({}), found {}",
          Info(dtype).block_elements, Name(dtype), ShapeText(shape));
  const std::optional<uint64_t> size = TensorBytes(dtype, shape);
  if (!size)
    Throw(ErrorCode::kCorrupt, "tensor shape: expected a size below 2^63 bytes, found {} {}",
          Name(dtype), ShapeText(shape));
  return *size;
}

Description ReadDescription(ByteReader* reader, uint64_t alignment, std::string_view where) {
  Description tensor;
  tensor.name = WithContext(where, [&] { return ReadTensorName(reader); });
  WithContext(fmt::format("{}:{}", where, Printable(tensor.name)), [&] {
    const std::vector<int64_t> shape = ReadShape(reader);
    tensor.view.dtype = DTypeFromGgml(reader->Read<uint32_t>("tensor type"));
    tensor.view.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), tensor.view.shape.begin());
    tensor.size = SizeOf(tensor.view.dtype, shape);
    tensor.offset = reader->Read<uint64_t>("tensor offset");
    if (tensor.offset % alignment != 0)
      Throw(ErrorCode::kCorrupt,
            "tensor offset: expected a multiple of {} (the alignment), found {}", alignment,
            tensor.offset);
  });
  return tensor;
}

std::vector<Description> ReadDescriptions(ByteReader* reader, uint64_t count, uint64_t alignment,
                                          std::string_view where) {
  std::vector<Description> tensors;
  std::set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    tensors.push_back(ReadDescription(reader, alignment, where));
    if (!names.insert(tensors.back().name).second)
      Throw(ErrorCode::kCorrupt, "tensor name: expected once, found again, in {}:{}", where,
            Printable(tensors.back().name));
  }
  return tensors;
}

/// Gives every tensor its bytes. Gaps between tensors are padding; overlaps are refused.
void PlaceData(std::span<const std::byte> data, std::vector<Description>* tensors,
               std::string_view where) {
  std::vector<const Description*> by_offset;
  for (Description& tensor : *tensors) {
    if (tensor.offset > data.size() || tensor.size > data.size() - tensor.offset)
      Throw(
          ErrorCode::kCorrupt,
          "tensor data: expected {} bytes ({} {}) at offset {}, found {} data bytes in all (a file "
          "cut short?), in {}:{}",
          tensor.size, Name(tensor.view.dtype),
          ShapeText({tensor.view.shape.data(), static_cast<size_t>(tensor.view.rank)}),
          tensor.offset, data.size(), where, Printable(tensor.name));
    tensor.view.bytes = data.subspan(tensor.offset, tensor.size);
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const Description* a, const Description* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const Description& before = *by_offset[i - 1];
    if (by_offset[i]->offset < before.offset + before.size)
      Throw(ErrorCode::kCorrupt,
            "tensor offset: expected at least {}, where {} ends, found {} (an overlap), in {}:{}",
            before.offset + before.size, Printable(before.name), by_offset[i]->offset, where,
            Printable(by_offset[i]->name));
  }
}

}  // namespace

GgufFile ParseGguf(std::span<const std::byte> bytes, std::string_view where) {
  ByteReader reader(bytes);
  GgufFile file;
  uint64_t n_tensors = 0, alignment = 0;
  WithContext(where, [&] {
    file.version = ReadVersion(bytes, &reader);
    n_tensors = reader.Read<uint64_t>("tensor count");
    const auto n_pairs = reader.Read<uint64_t>("metadata count");
    const GgufMetadata metadata = GgufMetadata::Read(&reader, bytes, n_pairs);
    reader.RequireItems(n_tensors, kMinTensorBytes, "tensor count");
    alignment = static_cast<uint64_t>(
        metadata.Int("general.alignment", 1, kMaxAlignment, kDefaultAlignment));
    if (!std::has_single_bit(alignment))
      Throw(ErrorCode::kCorrupt, "general.alignment: expected a power of two, found {}", alignment);
    file.split_index = static_cast<int>(metadata.Int("split.no", 0, INT16_MAX, 0));
    file.split_count = static_cast<int>(metadata.Int("split.count", 0, INT16_MAX, 1));
    if (metadata.json().Find("split.tensors.count"))
      file.split_tensors = metadata.Int("split.tensors.count", 0, INT64_MAX, 0);
    file.metadata = metadata.json();
    file.vocabulary = metadata.Vocabulary();
  });
  std::vector<Description> tensors = ReadDescriptions(&reader, n_tensors, alignment, where);
  const uint64_t padding = (alignment - reader.position() % alignment) % alignment;
  // A file without tensors may end before its padding.
  const uint64_t data_start = std::min<uint64_t>(reader.position() + padding, bytes.size());
  PlaceData(bytes.subspan(static_cast<size_t>(data_start)), &tensors, where);
  file.tensors.reserve(tensors.size());
  for (Description& tensor : tensors)
    file.tensors.emplace_back(std::move(tensor.name), tensor.view);
  return file;
}

}  // namespace mixtral
