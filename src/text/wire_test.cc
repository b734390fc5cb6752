// SPDX-License-Identifier: Apache-2.0
// The wire reader against bytes written by hand, sound and broken.
#include "text/wire.h"

#include <gtest/gtest.h>

#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::ErrorOf;

std::string ReadAll(std::string_view bytes) {
  return ErrorOf([&] {
    WireReader reader(bytes);
    for (WireField field; reader.Next(&field);) {
    }
  });
}

TEST(Wire, ReadsWhatItWrites) {
  std::string bytes;
  AppendInteger(&bytes, 3, 300);
  AppendBytes(&bytes, 44, "abc");
  AppendFloat(&bytes, 2, -1.5f);
  EXPECT_EQ(bytes, std::string("\x18\xAC\x02\xE2\x02\x03"
                               "abc\x15\x00\x00\xC0\xBF",
                               14));
  WireReader reader(bytes, 100);
  WireField field;
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.number, 3u);
  EXPECT_EQ(WireInteger(field, "f"), 300u);
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.number, 44u);
  EXPECT_EQ(WireBytes(field, "f"), "abc");
  EXPECT_EQ(field.offset, 106u);
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(WireFloat(field, "f"), -1.5f);
  EXPECT_FALSE(reader.Next(&field));
}

TEST(Wire, ReadsTheLargestInteger) {
  std::string bytes;
  AppendInteger(&bytes, 1, ~uint64_t{0});
  EXPECT_EQ(bytes.size(), 11u);
  WireReader reader(bytes);
  WireField field;
  ASSERT_TRUE(reader.Next(&field));
  EXPECT_EQ(field.integer, ~uint64_t{0});
}

TEST(Wire, RefusesBrokenBytes) {
  EXPECT_EQ(ReadAll("\x0A\x05"
                    "abc"),
            "corrupt: tokenizer model: truncated field 1 at byte 2: expected 5 bytes, found 3");
  EXPECT_EQ(ReadAll("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
            "corrupt: tokenizer model: truncated field 1 at byte 11: expected "
            "18446744073709551615 bytes, found 0");
  EXPECT_EQ(ReadAll("\x08\x80"), "corrupt: tokenizer model: truncated integer at byte 1");
  EXPECT_EQ(ReadAll("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"),
            "corrupt: tokenizer model: integer at byte 1: more than 64 bits");
  EXPECT_EQ(ReadAll("\x15\x01\x02\x03"), "corrupt: tokenizer model: truncated number at byte 1");
  EXPECT_EQ(ReadAll("\x11\x01\x02\x03\x04\x05\x06\x07"),
            "corrupt: tokenizer model: truncated number at byte 1");
  EXPECT_EQ(ReadAll("\x02\x01"), "corrupt: tokenizer model: invalid field number 0 at byte 0");
  EXPECT_EQ(ReadAll("\x80\x80\x80\x80\x10\x01"),
            "corrupt: tokenizer model: invalid field number 536870912 at byte 0");
  EXPECT_EQ(ReadAll("\xF8\xFF\xFF\xFF\x0F\x01"), "");  // the largest
  EXPECT_EQ(ReadAll("\x0B"), "corrupt: tokenizer model: field 1 at byte 0: unknown wire type 3");
}

TEST(Wire, RefusesAnotherWireType) {
  WireField field;
  field.offset = 7;
  EXPECT_EQ(ErrorOf([&] { WireBytes(field, "name"); }),
            "corrupt: tokenizer model: name at byte 7: expected wire type 2, found 0");
  EXPECT_NE(ErrorOf([&] { WireFloat(field, "name"); }), "");
  field.type = WireType::kFixed32;
  EXPECT_NE(ErrorOf([&] { WireInteger(field, "name"); }), "");
}

}  // namespace
}  // namespace mixtral
