// SPDX-License-Identifier: Apache-2.0
// Brings the pickle's descriptions and the zip's members together (torch_zip.h).
#include "io/torch_zip.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "io/pickle.h"
#include "io/shape.h"
#include "io/zip.h"

namespace mixtral {
namespace {

constexpr std::string_view kPickleName = "data.pkl";
constexpr size_t kMaxKeyBytes = 256, kMaxNameBytes = 1024;

constexpr std::array<std::pair<std::string_view, DType>, 4> kReadableStorages = {{
    {"FloatStorage", DType::kF32},
    {"HalfStorage", DType::kF16},
    {"BFloat16Storage", DType::kBF16},
    {"IntStorage", DType::kI32},
}};

using Members = std::map<std::string_view, std::span<const std::byte>>;

/// "ROOT/" of the one member "ROOT/data.pkl".
std::string FindRoot(const Members& members, std::string_view where) {
  std::string root;
  int n_found = 0;
  for (const auto& [name, bytes] : members) {
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos || name.substr(slash + 1) != kPickleName) continue;
    root = name.substr(0, slash + 1);
    ++n_found;
  }
  if (n_found != 1)
    Throw(ErrorCode::kUnsupported,
          "zip: expected an archive of torch.save with one FOLDER/{}, found {}, in {}", kPickleName,
          n_found, where);
  return root;
}

void CheckByteOrder(const Members& members, const std::string& root, std::string_view where) {
  const auto found = members.find(root + "byteorder");
  if (found == members.end()) return;  // older files have none and are little-endian
  const std::string_view order(reinterpret_cast<const char*>(found->second.data()),
                               found->second.size());
  if (order != "little")
    Throw(ErrorCode::kUnsupported, "byteorder: expected little, found {}, in {}", Printable(order),
          where);
}

DType StorageType(const PickledTensor& tensor, std::string_view place) {
  for (const auto& [name, dtype] : kReadableStorages)
    if (name == tensor.storage_class) return dtype;
  Throw(ErrorCode::kUnsupported,
        "tensor type: expected FloatStorage, HalfStorage, BFloat16Storage or IntStorage, found {} "
        "(not supported), in {}",
        Printable(tensor.storage_class), place);
}

/// Row-major without gaps; the stride of a dimension of 1 means nothing.
void CheckContiguous(const PickledTensor& tensor, std::string_view place) {
  int64_t expected = 1;  // TensorBytes has shown that the product does not overflow
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected)
      Throw(ErrorCode::kUnsupported,
            "tensor strides: expected a tensor that lies row by row, found strides {} for {}, in "
            "{}",
            ShapeText(tensor.strides), ShapeText(tensor.shape), place);
    expected *= std::max<int64_t>(tensor.shape[i], 1);
  }
}

TensorView View(const PickledTensor& tensor, const Members& members, const std::string& root,
                std::string_view place) {
  TensorView view;
  view.dtype = StorageType(tensor, place);
  view.rank = static_cast<int>(tensor.shape.size());
  std::copy(tensor.shape.begin(), tensor.shape.end(), view.shape.begin());
  const std::optional<uint64_t> bytes = TensorBytes(view.dtype, tensor.shape);
  if (!bytes)
    Throw(ErrorCode::kCorrupt, "tensor shape: expected a size below 2^63 bytes, found {} {}, in {}",
          Name(view.dtype), ShapeText(tensor.shape), place);
  CheckContiguous(tensor, place);
  const std::string_view key = tensor.storage_key.substr(0, kMaxKeyBytes);
  const auto found = members.find(root + "data/" + std::string(key));
  if (found == members.end() || key.size() != tensor.storage_key.size())
    Throw(ErrorCode::kCorrupt, "storage: expected a member {}data/{}, found none, in {}", root,
          Printable(key), place);
  const auto size = static_cast<uint64_t>(Info(view.dtype).block_bytes);
  const std::span<const std::byte> storage = found->second;
  if (tensor.storage_elements < 0 || storage.size() % size != 0 ||
      static_cast<uint64_t>(tensor.storage_elements) != storage.size() / size)
    Throw(ErrorCode::kCorrupt, "storage: expected {} elements of {} bytes, found {} bytes, in {}",
          tensor.storage_elements, size, storage.size(), place);
  const int64_t n = static_cast<int64_t>(*bytes / size);
  if (tensor.offset < 0 || tensor.offset > tensor.storage_elements ||
      n > tensor.storage_elements - tensor.offset)
    Throw(ErrorCode::kCorrupt,
          "tensor data: expected {} of {} elements from {} on, found fewer, in {}", n,
          tensor.storage_elements, tensor.offset, place);
  view.bytes = storage.subspan(static_cast<uint64_t>(tensor.offset) * size, *bytes);
  return view;
}

}  // namespace

std::vector<std::pair<std::string, TensorView>> ParseTorchZip(std::span<const std::byte> bytes,
                                                              std::string_view where) {
  const std::vector<ZipMember> list = ParseZip(bytes, where);
  Members members;
  for (const ZipMember& member : list) members.emplace(member.name, member.bytes);
  const std::string root = FindRoot(members, where);
  CheckByteOrder(members, root, where);
  const std::string pickle = root + std::string(kPickleName);
  std::vector<std::pair<std::string, TensorView>> tensors;
  std::set<std::string_view> names;
  for (const PickledTensor& tensor :
       ParsePickledStateDict(members.at(pickle), fmt::format("{}:{}", where, pickle))) {
    const std::string place = fmt::format("{}:{}", where, Printable(tensor.name));
    if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes)
      Throw(ErrorCode::kCorrupt, "tensor name: expected 1..{} bytes, found {}, in {}",
            kMaxNameBytes, tensor.name.size(), where);
    if (!names.insert(tensor.name).second)
      Throw(ErrorCode::kCorrupt, "tensor name: expected once, found again, in {}", place);
    tensors.emplace_back(tensor.name, View(tensor, members, root, place));
  }
  return tensors;
}

}  // namespace mixtral
