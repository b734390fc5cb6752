// SPDX-License-Identifier: Apache-2.0
// ByteReader reads up to the very last byte and not one further.
#include "io/byte_reader.h"

#include <gtest/gtest.h>

#include "io/test_images.h"

namespace mixtral {
namespace {

using test::ErrorOf;
using test::Image;

TEST(ByteReaderTest, StopsAtTheLastByte) {
  Image image;
  test::AppendValue(&image, uint32_t{0x04030201});
  ByteReader reader(image);
  EXPECT_EQ(reader.Read<uint16_t>("x"), 0x0201);
  EXPECT_EQ(ErrorOf([&] { reader.Read<uint32_t>("size"); }),
            "corrupt: size: expected 4 bytes, found 2 at byte 2 (a file cut short?)");
  EXPECT_EQ(reader.position(), 2u) << "a failed read moves nothing";
  reader.Skip(1, "x");
  EXPECT_NE(ErrorOf([&] { reader.Skip(2, "x"); }), "");
  EXPECT_NE(ErrorOf([&] { reader.Read<uint16_t>("x"); }), "");
  EXPECT_EQ(reader.Read<uint8_t>("x"), 4);
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_NE(ErrorOf([&] { reader.Read<uint8_t>("x"); }), "");
}

TEST(ByteReaderTest, ChecksLengthsOfStringsAndLists) {
  Image image;
  test::AppendValue(&image, uint64_t{3});
  test::AppendBytes(&image, "abc", 3);
  EXPECT_EQ(ByteReader(image).ReadString("x"), "abc");
  image.pop_back();
  EXPECT_NE(ErrorOf([&] { ByteReader(image).ReadString("x"); }), "");
  const ByteReader ten(image);
  ten.RequireItems(5, 2, "x");
  EXPECT_EQ(ErrorOf([&] { ten.RequireItems(4, 3, "items"); }),
            "corrupt: items: expected at most 3 (the bytes that are left), found 4");
  EXPECT_NE(ErrorOf([&] { ten.RequireItems(uint64_t{1} << 63, 2, "x"); }), "");
}

}  // namespace
}  // namespace mixtral
