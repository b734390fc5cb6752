// SPDX-License-Identifier: Apache-2.0
// Published digests, and every way of cutting a message in two.
#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string>

namespace mixtral {
namespace {

// The examples of FIPS 180-2, appendix B, and the empty message.
TEST(Sha256, PublishedExamples) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesOfAnySizeGiveTheWhole) {
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(i * 7));
  for (size_t size = 0; size <= text.size(); ++size) {
    const std::string_view part = std::string_view(text).substr(0, size);
    for (const size_t step : {1u, 55u, 64u, 65u}) {
      Sha256 hash;
      for (size_t at = 0; at < size; at += step) hash.Update(part.substr(at, step));
      ASSERT_EQ(Hex(hash.Finish()), Sha256Hex(part)) << size << " in steps of " << step;
    }
  }
}

}  // namespace
}  // namespace mixtral
