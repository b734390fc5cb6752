// SPDX-License-Identifier: Apache-2.0
// The safetensors parser on right, broken and mutated files, and the writer's round trip.
#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/mapped_file.h"
#include "io/test_images.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::Image;
using test::SafetensorsImage;
using test::TempFolder;

constexpr std::string_view kTwoTensors =
    R"({"__metadata__":{"format":"pt"},)"
    R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

std::string ParseError(std::string_view header, size_t data_bytes) {
  const Image image = SafetensorsImage(header, data_bytes);
  return ErrorOf([&] { ParseSafetensors(image, "FILE"); });
}

TEST(SafetensorsTest, ReadsTensorsInTheOrderOfTheirData) {
  const Image image = SafetensorsImage(kTwoTensors, 20);
  const SafetensorsFile file = ParseSafetensors(image, "FILE");
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].first, "a");
  EXPECT_EQ(file.tensors[1].first, "b");
  const TensorView& b = file.tensors[1].second;
  EXPECT_EQ(b.dtype, DType::kBF16);
  EXPECT_EQ(b.rank, 2);
  EXPECT_EQ(b.shape, (std::array<int64_t, 4>{2, 3, 0, 0}));
  EXPECT_EQ(b.bytes.size(), 12u);
  EXPECT_EQ(b.bytes[0], std::byte{8});
  ASSERT_EQ(file.metadata.size(), 1u);
  EXPECT_EQ(file.metadata[0], (std::pair<std::string, std::string>("format", "pt")));
}

TEST(SafetensorsTest, ReadsScalarsAndEmptyTensors) {
  const Image image =
      SafetensorsImage(R"({"none":{"dtype":"I32","shape":[0,7],"data_offsets":[0,0]},)"
                       R"("one":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}    )",
                       2);
  const SafetensorsFile file = ParseSafetensors(image);
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].second.Elements(), 0);
  EXPECT_EQ(file.tensors[1].second.Elements(), 1);
  EXPECT_EQ(file.tensors[1].second.rank, 0);
}

struct BadHeader {
  std::string_view header;
  size_t data_bytes;
  std::string_view message;  // must be part of the error
};

constexpr BadHeader kBadHeaders[] = {
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 8, "corrupt: invalid JSON"},
    {R"({"a":7})", 8, "$.a: expected an object"},
    {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "$.a.dtype: expected a value"},
    {R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", 8, "$.a.dtype: expected a string"},
    {R"({"a":{"dtype":"F9_X","shape":[2],"data_offsets":[0,8]}})", 8,
     "corrupt: tensor dtype: expected F32, F16, BF16, F8_E4M3 or I32, found F9_X (no such type), "
     "in FILE:a"},
    {R"({"a":{"dtype":"I16","shape":[4],"data_offsets":[0,8]}})", 8,
     "unsupported: tensor dtype: expected F32, F16, BF16, F8_E4M3 or I32, found I16 (not "
     "supported), in "
     "FILE:a"},
    {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8,
     "expected dimensions of at least 0, found [-2], in FILE:a"},
    {R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8, "expected an integer"},
    {R"({"a":{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]}})", 8,
     "unsupported: tensor shape: expected at most 4 dimensions, found 5"},
    {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8,
     "expected a size below 2^63 bytes"},
    {R"({"a":{"dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,8]}})", 8,
     "expected a size below 2^63 bytes"},
    {R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0,
     "expected a size below 2^63 bytes"},
    {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 8,
     "tensor data size: expected 4 bytes (F32 [1]), found 8, in FILE:a"},
    {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
     "tensor data size: expected 12 bytes (F32 [3]), found 8, in FILE:a"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "expected [begin, end]"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "expected [begin, end]"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8, "expected [begin, end]"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8,
     "expected an integer"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7,
     "within the file's 7 data bytes, found an end of 8"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9,
     "data: expected 8 bytes, found 9, in FILE"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
     R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
     12, "found 4 (an overlap), in FILE:b"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
     R"("b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
     16, "found 12 (a hole), in FILE:b"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
     R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
     12, "corrupt: "},
    {R"({"__metadata__":{"format":3}})", 0, "$.__metadata__.format: expected a string"},
};

TEST(SafetensorsTest, RefusesBadHeadersByName) {
  for (const BadHeader& bad : kBadHeaders) {
    const std::string error = ParseError(bad.header, bad.data_bytes);
    EXPECT_NE(error.find(bad.message), std::string::npos) << bad.header << "\n  gave: " << error;
    EXPECT_NE(error.find(", in FILE"), std::string::npos) << error;
  }
}

TEST(SafetensorsTest, RefusesBadLengths) {
  Image image = SafetensorsImage(kTwoTensors, 20);
  const uint64_t lengths[] = {uint64_t{1} << 63, ~uint64_t{0}, image.size(), image.size() - 7};
  for (const uint64_t length : lengths) {
    std::memcpy(image.data(), &length, sizeof length);
    const std::string error = ErrorOf([&] { ParseSafetensors(image); });
    EXPECT_NE(error.find("header length: expected at most"), std::string::npos) << error;
  }
  for (size_t size = 0; size < image.size(); ++size) {
    const Image cut(image.begin(), image.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_NE(ErrorOf([&] { ParseSafetensors(cut, "FILE"); }).find(", in FILE"), std::string::npos)
        << size;
  }
}

TEST(SafetensorsTest, SaysWhatAnotherFileLooksLike) {
  const auto error_of = [](std::string_view text) {
    return ErrorOf([&] { ParseSafetensors(std::as_bytes(std::span(text)), "FILE"); });
  };
  EXPECT_NE(error_of("").find("an empty file"), std::string::npos);
  EXPECT_NE(error_of("version https://git-lfs.github.com/spec/v1\noid").find("Git LFS pointer"),
            std::string::npos);
  EXPECT_NE(error_of("<!DOCTYPE html><html>").find("a web page"), std::string::npos);
}

TEST(SafetensorsTest, SurvivesMutations) {
  test::ParseMutations(SafetensorsImage(kTwoTensors, 20), 2000,
                       [](const Image& image) { ParseSafetensors(image); });
}

TEST(SafetensorsWriterTest, RoundTripsInPieces) {
  const TempFolder folder;
  const std::string path = folder.In("out.safetensors");
  const Image data = SafetensorsImage("", 28);  // 8 zero bytes, then 0..27
  {
    SafetensorsWriter writer(path);
    writer.Declare("x \"quoted\"", DType::kF32, {2, 3});
    writer.Declare("none", DType::kI32, {0});
    writer.Declare("y", DType::kBF16, {6});
    for (size_t i = 0; i < 36; i += 9) writer.Append(std::span(data).subspan(i, 9));
    EXPECT_FALSE(std::filesystem::exists(path)) << "visible before it is whole";
    writer.Finish();
  }
  const MappedFile mapped(path);
  const SafetensorsFile file = ParseSafetensors(mapped.bytes(), path);
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].first, "x \"quoted\"");
  EXPECT_EQ(file.tensors[0].second.shape, (std::array<int64_t, 4>{2, 3, 0, 0}));
  EXPECT_EQ(std::memcmp(file.tensors[0].second.bytes.data(), data.data(), 24), 0);
  EXPECT_EQ(file.tensors[2].first, "y");
  EXPECT_EQ(std::memcmp(file.tensors[2].second.bytes.data(), data.data() + 24, 12), 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(SafetensorsWriterTest, LeavesNothingBehindWithoutFinish) {
  const TempFolder folder;
  const std::string path = folder.Write("out.safetensors", "the old file");
  {
    SafetensorsWriter writer(path);
    writer.Declare("x", DType::kF32, {2});
    writer.Append(Image(4));
    EXPECT_NE(ErrorOf([&] { writer.Finish(); }).find("expected 8 tensor bytes, found 4"),
              std::string::npos);
    EXPECT_NE(ErrorOf([&] { writer.Append(Image(5)); }).find("at most 8 tensor bytes, found 9"),
              std::string::npos);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_EQ(ReadTextFile(path), "the old file");
}

TEST(SafetensorsWriterTest, NamesAPathThatCannotBeWritten) {
  const TempFolder folder;
  const std::string path = folder.In("no/such/folder.safetensors");
  const std::string error = ErrorOf([&] { SafetensorsWriter writer(path); });
  EXPECT_NE(error.find(path), std::string::npos) << error;
}

TEST(SafetensorsWriterTest, RefusesToReplaceWhatIsNoFile) {
  const TempFolder folder;
  const std::string taken = folder.In("taken"), fifo = folder.In("fifo");
  std::filesystem::create_directory(taken);
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {taken, fifo}) {
    const std::string error = ErrorOf([&] { SafetensorsWriter writer(path); });
    EXPECT_NE(error.find("expected a regular file or none"), std::string::npos) << error;
    EXPECT_NE(error.find(path), std::string::npos) << error;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

}  // namespace
}  // namespace mixtral
