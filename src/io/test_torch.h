// SPDX-License-Identifier: Apache-2.0
// Builds PyTorch's .pth files byte by byte, right ones and broken ones, from the formats'
// descriptions and not from the readers. For tests only; compared with files of PyTorch 1.13.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::test {

inline void PutText(std::string* out, std::string_view text) { out->append(text); }
template <class T>
void Put(std::string* out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out->append(bytes, sizeof value);
}

/// What a directory entry claims instead of the truth; -1 or empty: the truth.
struct ZipLie {
  int64_t size = -1, offset = -1, method = -1, flags = -1;
  std::string name, local_name;
  bool zip64 = false;  // sizes and offset in an extra field
};

/// A zip archive of stored members, data aligned to 64 bytes, sizes after the data and in the
/// directory, a zip64 end record: as torch.save writes it.
class ZipImage {
 public:
  int64_t claimed_entries = -1, claimed_directory = -1;
  bool zip64_end = true;

  void Add(std::string_view name, std::string_view bytes, const ZipLie& lie = {}) {
    const std::string local(lie.local_name.empty() ? name : lie.local_name);
    const uint64_t offset = data_.size();
    const size_t start = offset + 30 + local.size();
    const size_t padding = 4 + (64 - (start + 4) % 64) % 64;
    Put<uint32_t>(&data_, 0x04034B50);
    PutHead(&data_, lie, 0, 0);  // sizes follow the data
    Put<uint16_t>(&data_, static_cast<uint16_t>(local.size()));
    Put<uint16_t>(&data_, static_cast<uint16_t>(padding));
    PutText(&data_, local + "FB");
    Put<uint16_t>(&data_, static_cast<uint16_t>(padding - 4));
    data_.append(padding - 4, 'Z');
    PutText(&data_, bytes);
    Put<uint32_t>(&data_, 0x08074B50);
    Put<uint32_t>(&data_, 0);
    Put<uint32_t>(&data_, static_cast<uint32_t>(bytes.size()));
    Put<uint32_t>(&data_, static_cast<uint32_t>(bytes.size()));
    AddEntry(lie.name.empty() ? std::string(name) : lie.name,
             lie.size >= 0 ? static_cast<uint64_t>(lie.size) : bytes.size(),
             lie.offset >= 0 ? static_cast<uint64_t>(lie.offset) : offset, lie);
  }

  std::string Build() const {
    std::string out = data_ + entries_;
    const uint64_t n = claimed_entries >= 0 ? static_cast<uint64_t>(claimed_entries) : n_entries_;
    const uint64_t at =
        claimed_directory >= 0 ? static_cast<uint64_t>(claimed_directory) : data_.size();
    if (zip64_end) {
      const uint64_t record = out.size();
      Put<uint32_t>(&out, 0x06064B50);
      Put<uint64_t>(&out, 44);
      Put<uint32_t>(&out, 0);
      Put<uint64_t>(&out, 0);
      for (const uint64_t value : {n, n, static_cast<uint64_t>(entries_.size()), at})
        Put<uint64_t>(&out, value);
      Put<uint32_t>(&out, 0x07064B50);
      Put<uint32_t>(&out, 0);
      Put<uint64_t>(&out, record);
      Put<uint32_t>(&out, 1);
    }
    Put<uint32_t>(&out, 0x06054B50);
    Put<uint32_t>(&out, 0);
    for (int i = 0; i < 2; ++i) Put<uint16_t>(&out, static_cast<uint16_t>(n));
    Put<uint32_t>(&out, static_cast<uint32_t>(entries_.size()));
    Put<uint32_t>(&out, static_cast<uint32_t>(at));
    Put<uint16_t>(&out, 0);
    return out;
  }

 private:
  /// version, flags, method, time, date, checksum, sizes
  static void PutHead(std::string* out, const ZipLie& lie, uint32_t stored, uint32_t size) {
    Put<uint16_t>(out, 0);
    Put<uint16_t>(out, static_cast<uint16_t>(lie.flags >= 0 ? lie.flags : 0x0808));
    Put<uint16_t>(out, static_cast<uint16_t>(lie.method >= 0 ? lie.method : 0));
    Put<uint64_t>(out, 0);
    Put<uint32_t>(out, stored);
    Put<uint32_t>(out, size);
  }

  void AddEntry(const std::string& name, uint64_t size, uint64_t offset, const ZipLie& lie) {
    const auto field = [&](uint64_t value) {
      return lie.zip64 ? 0xFFFFFFFFu : static_cast<uint32_t>(value);
    };
    Put<uint32_t>(&entries_, 0x02014B50);
    Put<uint16_t>(&entries_, 0);
    PutHead(&entries_, lie, field(size), field(size));
    Put<uint16_t>(&entries_, static_cast<uint16_t>(name.size()));
    Put<uint16_t>(&entries_, lie.zip64 ? 28 : 0);
    Put<uint64_t>(&entries_, 0);  // comment, disk, attributes: 2 + 2 + 2 and the first half of 4
    Put<uint16_t>(&entries_, 0);
    Put<uint32_t>(&entries_, field(offset));
    PutText(&entries_, name);
    if (lie.zip64) {
      Put<uint16_t>(&entries_, 1);
      Put<uint16_t>(&entries_, 24);
      for (const uint64_t value : {size, size, offset}) Put<uint64_t>(&entries_, value);
    }
    ++n_entries_;
  }

  std::string data_, entries_;
  uint64_t n_entries_ = 0;
};

/// Opcodes of pickle protocol 2, as torch.save uses them (without its memo, which saves space
/// only).
class PickleImage {
 public:
  PickleImage() { PutText(&text_, "\x80\x02"); }
  PickleImage& Op(std::string_view opcodes) { return PutText(&text_, opcodes), *this; }
  PickleImage& Text(std::string_view text) {
    Op("X");
    Put<uint32_t>(&text_, static_cast<uint32_t>(text.size()));
    return Op(text);
  }
  PickleImage& Int(int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      Op("J");
      Put<int32_t>(&text_, static_cast<int32_t>(value));
    } else {
      Op("\x8A\x08");
      Put<int64_t>(&text_, value);
    }
    return *this;
  }
  PickleImage& Ints(const std::vector<int64_t>& values) {
    Op("(");
    for (const int64_t value : values) Int(value);
    return Op("t");
  }
  PickleImage& Global(std::string_view module, std::string_view name) {
    return Op("c").Op(module).Op("\n").Op(name).Op("\n");
  }
  PickleImage& Storage(std::string_view type, std::string_view key, int64_t elements) {
    Op("(").Text("storage").Global("torch", type).Text(key).Text("cpu").Int(elements);
    return Op("tQ");
  }
  const std::string& Build() const { return text_; }

 private:
  std::string text_;
};

struct TorchTensor {
  std::string name, storage;  // "FloatStorage"
  std::vector<int64_t> shape;
  std::string bytes;                  // of the storage
  std::vector<int64_t> strides = {};  // empty: row-major
  int64_t offset = 0, elements = -1;  // -1: as many as bytes hold
  std::string key = {};               // of a storage that is there; "": one of its own
};

inline int64_t StorageBytes(std::string_view storage) {
  return storage == "FloatStorage" || storage == "IntStorage"     ? 4
         : storage == "LongStorage" || storage == "DoubleStorage" ? 8
                                                                  : 2;
}

inline void PutTensor(PickleImage* pickle, const TorchTensor& tensor, const std::string& key) {
  std::vector<int64_t> strides = tensor.strides;
  if (strides.empty()) {
    strides.assign(tensor.shape.size(), 1);
    for (size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * tensor.shape[i];
  }
  const auto held = static_cast<int64_t>(tensor.bytes.size()) / StorageBytes(tensor.storage);
  pickle->Text(tensor.name).Global("torch._utils", "_rebuild_tensor_v2").Op("(");
  pickle->Storage(tensor.storage, key, tensor.elements >= 0 ? tensor.elements : held);
  pickle->Int(tensor.offset).Ints(tensor.shape).Ints(strides).Op("\x89");
  pickle->Global("collections", "OrderedDict").Op(")RtR");
}

/// A whole .pth file of a dict of tensors.
inline std::string TorchImage(const std::vector<TorchTensor>& tensors,
                              std::string_view root = "consolidated") {
  PickleImage pickle;
  pickle.Op("}(");
  ZipImage zip;
  std::vector<std::pair<std::string, std::string_view>> storages;
  for (const TorchTensor& tensor : tensors) {
    const std::string own = std::to_string(storages.size());
    PutTensor(&pickle, tensor, tensor.key.empty() ? own : tensor.key);
    if (tensor.key.empty()) storages.emplace_back(own, tensor.bytes);
  }
  pickle.Op("u.");
  const std::string folder = std::string(root) + "/";
  zip.Add(folder + "data.pkl", pickle.Build());
  for (const auto& [key, bytes] : storages) zip.Add(folder + "data/" + key, bytes);
  zip.Add(folder + "version", "3\n");
  return zip.Build();
}

}  // namespace mixtral::test
