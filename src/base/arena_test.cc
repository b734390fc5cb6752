// SPDX-License-Identifier: Apache-2.0
// Tests of AlignedBuffer and Arena.
#include "base/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace mixtral {
namespace {

bool IsAligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % kAlignment == 0; }

TEST(AlignedBufferTest, IsAlignedAndZeroAtEverySize) {
  for (const size_t size : {0, 1, 63, 64, 65, 4096, 1 << 21}) {
    const AlignedBuffer buffer(size);
    EXPECT_TRUE(IsAligned(buffer.data())) << size;
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(std::count(buffer.data(), buffer.data() + size, std::byte{0}),
              static_cast<ptrdiff_t>(size));
  }
}

TEST(AlignedBufferTest, MemoryIsUsableToTheLastByte) {
  AlignedBuffer buffer(1001);
  std::memset(buffer.data(), 0x5A, buffer.size());
  EXPECT_EQ(buffer.bytes().back(), std::byte{0x5A});
}

TEST(AlignedBufferTest, MovesTheMemory) {
  AlignedBuffer a(128);
  std::byte* data = a.data();
  AlignedBuffer b(std::move(a));
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);  // NOLINT(bugprone-use-after-move): what is left is defined
  AlignedBuffer c(32);
  c = std::move(b);
  EXPECT_EQ(c.data(), data);
  EXPECT_EQ(c.size(), 128u);
  EXPECT_EQ(b.size(), 0u);  // NOLINT(bugprone-use-after-move)
}

TEST(AlignedBufferTest, AskingForTooMuchNamesTheSize) {
  for (const size_t size : {SIZE_MAX, SIZE_MAX - 100, size_t{1} << 62}) {
    try {
      const AlignedBuffer buffer(size);
      ADD_FAILURE() << "got " << size << " bytes";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      EXPECT_NE(std::string(error.what()).find(" EB"), std::string::npos) << error.what();
    }
  }
}

TEST(ArenaTest, HandsOutAlignedPiecesThatDoNotOverlap) {
  Arena arena(256);
  float* a = arena.Alloc<float>(3);
  double* b = arena.Alloc<double>(8);
  EXPECT_TRUE(IsAligned(a));
  EXPECT_TRUE(IsAligned(b));
  EXPECT_EQ(reinterpret_cast<std::byte*>(b) - reinterpret_cast<std::byte*>(a), 64);
  EXPECT_EQ(arena.used(), 128u);
  arena.Reset();
  EXPECT_EQ(arena.used(), 0u);
  EXPECT_EQ(arena.Alloc<float>(3), a);
}

TEST(ArenaTest, CanBeFilledToTheLastByte) {
  Arena arena(100);
  arena.Alloc<char>(64);
  arena.Alloc<char>(36);
  EXPECT_EQ(arena.used(), arena.capacity());
}

TEST(ArenaDeathTest, AskingForMoreThanIsLeftIsOurBug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Arena arena(100);
        arena.Alloc<char>(64);
        arena.Alloc<char>(37);
      },
      "arena is full");
}

}  // namespace
}  // namespace mixtral
