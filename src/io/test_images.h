// SPDX-License-Identifier: Apache-2.0
// Builds checkpoint files in memory and in temporary folders, right ones and broken ones, for the
// tests of io/. Not part of the library.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace mixtral::test {

using Image = std::vector<std::byte>;

inline void AppendBytes(Image* image, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  image->insert(image->end(), bytes, bytes + size);
}

template <class T>
void AppendValue(Image* image, T value) {
  AppendBytes(image, &value, sizeof value);
}

/// A safetensors file: length, header text, data_bytes bytes counting up from 0.
inline Image SafetensorsImage(std::string_view header, size_t data_bytes) {
  Image image;
  AppendValue(&image, static_cast<uint64_t>(header.size()));
  AppendBytes(&image, header.data(), header.size());
  for (size_t i = 0; i < data_bytes; ++i) image.push_back(static_cast<std::byte>(i));
  return image;
}

/// A GGUF file, written in the order of the calls. Every number that a file claims can be replaced.
class GgufImage {
 public:
  uint32_t version = 3;
  int64_t claimed_tensors = -1, claimed_pairs = -1;  // -1: as many as there are
  size_t alignment = 32;
  size_t cut_bytes = 0;  // taken off the end

  GgufImage& String(std::string_view key, std::string_view value) {
    Key(key, 8);
    Text(&pairs_, value);
    return *this;
  }
  template <class T>
  GgufImage& Value(std::string_view key, uint32_t type, T value) {
    Key(key, type);
    AppendValue(&pairs_, value);
    return *this;
  }
  GgufImage& U32(std::string_view key, uint32_t value) { return Value(key, 4, value); }
  GgufImage& Strings(std::string_view key, const std::vector<std::string>& values) {
    ArrayHead(key, 8, values.size());
    for (const std::string& value : values) Text(&pairs_, value);
    return *this;
  }
  template <class T>
  GgufImage& Array(std::string_view key, uint32_t type, const std::vector<T>& values) {
    ArrayHead(key, type, values.size());
    AppendBytes(&pairs_, values.data(), values.size() * sizeof(T));
    return *this;
  }
  GgufImage& ArrayHead(std::string_view key, uint32_t type, uint64_t count) {
    Key(key, 9);
    AppendValue(&pairs_, type);
    AppendValue(&pairs_, count);
    return *this;
  }
  /// More bytes of the pair written last, e.g. the items of an array.
  template <class T>
  GgufImage& Raw(T value) {
    AppendValue(&pairs_, value);
    return *this;
  }
  /// dims fastest first; size bytes of data at the next aligned offset, unless offset says where.
  GgufImage& Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                    size_t size, int64_t offset = -1) {
    Text(&tensors_, name);
    AppendValue(&tensors_, static_cast<uint32_t>(dims.size()));
    for (const uint64_t n : dims) AppendValue(&tensors_, n);
    AppendValue(&tensors_, type);
    while (data_.size() % alignment != 0) data_.push_back(std::byte{0xEE});
    AppendValue(&tensors_, offset >= 0 ? static_cast<uint64_t>(offset) : data_.size());
    for (size_t i = 0; i < size; ++i) data_.push_back(static_cast<std::byte>(i));
    ++n_tensors_;
    return *this;
  }
  Image Build() const {
    Image image;
    AppendBytes(&image, "GGUF", 4);
    AppendValue(&image, version);
    AppendValue(&image, claimed_tensors >= 0 ? static_cast<uint64_t>(claimed_tensors) : n_tensors_);
    AppendValue(&image, claimed_pairs >= 0 ? static_cast<uint64_t>(claimed_pairs) : n_pairs_);
    AppendBytes(&image, pairs_.data(), pairs_.size());
    AppendBytes(&image, tensors_.data(), tensors_.size());
    while (image.size() % alignment != 0) image.push_back(std::byte{0});
    AppendBytes(&image, data_.data(), data_.size());
    image.resize(image.size() - cut_bytes);
    return image;
  }

 private:
  static void Text(Image* image, std::string_view text) {
    AppendValue(image, static_cast<uint64_t>(text.size()));
    AppendBytes(image, text.data(), text.size());
  }
  void Key(std::string_view key, uint32_t type) {
    Text(&pairs_, key);
    AppendValue(&pairs_, type);
    ++n_pairs_;
  }

  Image pairs_, tensors_, data_;
  uint64_t n_pairs_ = 0, n_tensors_ = 0;
};

/// The message of the Error that fn throws, "CODE: text"; "" when it throws none.
template <class Fn>
std::string ErrorOf(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.what();
  }
  return "";
}

/// Calls parse with n images that differ from image in a few bytes, or are cut short. parse may
/// return or throw Error; anything else ends the test.
template <class Fn>
void ParseMutations(const Image& image, uint64_t n, Fn&& parse) {
  constexpr std::byte kTelling[] = {std::byte{0},    std::byte{1},    std::byte{0x7F},
                                    std::byte{0x80}, std::byte{0xFF}, std::byte{'"'},
                                    std::byte{'-'},  std::byte{'9'}};
  uint64_t parsed = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const CounterRng rng(7, i);
    Image mutated = image;
    if (rng.Bits(0) % 8 == 0) mutated.resize(rng.Bits(1) % image.size());
    const uint64_t n_changes = 1 + rng.Bits(2) % 4;
    for (uint64_t c = 0; c < n_changes && !mutated.empty(); ++c) {
      const uint64_t at = rng.Bits(10 + 2 * c) % mutated.size(), how = rng.Bits(11 + 2 * c);
      mutated[at] = how % 3 == 0 ? static_cast<std::byte>(how >> 8) : kTelling[(how >> 8) % 8];
    }
    mutated.shrink_to_fit();  // so that the address sanitizer sees a read past the end
    if (ErrorOf([&] { parse(mutated); }).empty()) ++parsed;
  }
  EXPECT_LT(parsed, n) << "no mutation was refused: the parser checks nothing";
}

/// A new folder that goes away with the object.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = testing::TempDir() + "mixtral-io-XXXXXX";
    path_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : "";
    EXPECT_FALSE(path_.empty());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string In(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string Write(std::string_view name, std::string_view text) const {
    std::ofstream(In(name), std::ios::binary) << text;
    return In(name);
  }
  std::string Write(std::string_view name, const Image& image) const {
    return Write(name, {reinterpret_cast<const char*>(image.data()), image.size()});
  }

 private:
  std::string path_;
};

}  // namespace mixtral::test
