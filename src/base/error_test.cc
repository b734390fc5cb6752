// SPDX-License-Identifier: Apache-2.0
// Tests of the error vocabulary and of Check.
#include "base/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/check.h"

namespace mixtral {
namespace {

template <class Fn>
Error Caught(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "nothing was thrown");
}

TEST(ErrorTest, ThrowCarriesCodeAndFormattedMessage) {
  const Error error = Caught([] { Throw(ErrorCode::kCorrupt, "{}: expected {}", "a.gguf", 3); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_STREQ(error.what(), "a.gguf: expected 3");
}

TEST(ErrorTest, WithContextAddsThePlaceAndKeepsTheCode) {
  const Error error = Caught([] {
    WithContext("shard 3 of 19", [] { Throw(ErrorCode::kNotFound, "norm.weight: missing"); });
  });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_STREQ(error.what(), "norm.weight: missing, in shard 3 of 19");
}

TEST(ErrorTest, WithContextDoesNotSayTheSamePlaceTwice) {
  const Error error = Caught(
      [] { WithContext("c.json", [] { Throw(ErrorCode::kCorrupt, "$.dim: bad, in c.json"); }); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_STREQ(error.what(), "$.dim: bad, in c.json");
}

TEST(ErrorTest, WithContextReturnsWhatTheFunctionReturns) {
  EXPECT_EQ(WithContext("nowhere", [] { return 7; }), 7);
  int value = 1;
  WithContext("nowhere", [&]() -> int& { return value; }) = 2;
  EXPECT_EQ(value, 2);
}

TEST(ErrorTest, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (const ErrorCode code :
       {ErrorCode::kInvalidArgument, ErrorCode::kNotFound, ErrorCode::kCorrupt,
        ErrorCode::kUnsupported, ErrorCode::kOutOfMemory, ErrorCode::kIo, ErrorCode::kInternal}) {
    names.insert(ErrorCodeName(code));
  }
  EXPECT_EQ(names.size(), 7u);
  EXPECT_FALSE(names.contains("unknown error"));
}

TEST(CheckDeathTest, FailureNamesMessageAndPlace) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Check(1 + 1 == 3, "arithmetic broke"),
               "internal error: arithmetic broke .*error_test");
}

TEST(CheckTest, SuccessDoesNothing) { Check(1 + 1 == 2, "arithmetic broke"); }

}  // namespace
}  // namespace mixtral
