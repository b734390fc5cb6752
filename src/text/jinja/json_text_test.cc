// SPDX-License-Identifier: Apache-2.0
// JSON as Python reads and writes it.
#include "text/jinja/json_text.h"

#include <gtest/gtest.h>

namespace mixtral::jinja {
namespace {

std::string Again(std::string_view text) {
  const std::optional<Value> value = ParseJson(text);
  Budget budget;
  return value ? DumpJson(*value, -1, &budget) : "no JSON";
}

TEST(JsonText, IsWrittenAsPythonWritesIt) {
  EXPECT_EQ(Again("{\"b\":[1,2.0,1e2,true,null],\"a\":{}}"),
            "{\"b\": [1, 2.0, 100.0, true, null], \"a\": {}}");
  EXPECT_EQ(Again(" \"\\u00e9\\ud83d\\ude00\\/\\n\\u0001\\\\\" "),
            "\"\xC3\xA9\xF0\x9F\x98\x80/\\n\\u0001\\\\\"");
  EXPECT_EQ(Again("{\"a\": 1, \"b\": 2, \"a\": 3}"), "{\"a\": 3, \"b\": 2}");
  EXPECT_EQ(Again("-0"), "0");
  EXPECT_EQ(Again("1e-7"), "1e-07");
  EXPECT_EQ(Again("[NaN, -Infinity]"), "[NaN, -Infinity]");
  EXPECT_EQ(Again("[]"), "[]");
}

TEST(JsonText, OtherTextIsNoJson) {
  for (const char* text : {"",           "a",   "{",       "[1,]",        "{\"a\"}",
                           "{\"a\":1,}", "01",  "1.",      ".5",          "+1",
                           "1e",         "\"",  "\"\\x\"", "\"\\ud800\"", "\"\n\"",
                           "1 2",        "nul", "{1: 2}",  "'a'",         "99999999999999999999"}) {
    EXPECT_EQ(Again(text), "no JSON") << text;
  }
  EXPECT_EQ(Again(std::string(100'000, '[')), "no JSON");
}

}  // namespace
}  // namespace mixtral::jinja
