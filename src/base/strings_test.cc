// SPDX-License-Identifier: Apache-2.0
// Tests of the text helpers, UTF-8 against a table of hand-made cases.
#include "base/strings.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mixtral {
namespace {

TEST(Utf8Test, AcceptsTheEdgesOfEveryLength) {
  for (const std::string_view text :
       {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "x\xC3\xA9y"}) {
    EXPECT_TRUE(IsValidUtf8(text)) << Printable(text);
  }
}

TEST(Utf8Test, RefusesWhatRfc3629Refuses) {
  for (const std::string_view text :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x9F\xBF", "\xE2\x82",
        "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFE", "\xFF", "a\xE2\x82(b"}) {
    EXPECT_FALSE(IsValidUtf8(text)) << Printable(text);
  }
}

TEST(Utf8Test, ReplacesEachBadByteByOneReplacementCharacter) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(ReplaceInvalidUtf8("a\xC3\xA9"), "a\xC3\xA9");
  EXPECT_EQ(ReplaceInvalidUtf8("a\xFFz"), "a" + r + "z");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE2\x82"), r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xE2\x82(x"), r + r + "(x");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80"), r + r + r);
}

TEST(Utf8Test, PrefixStopsBeforeAnUnfinishedSequenceOnly) {
  EXPECT_EQ(CompleteUtf8Prefix(""), 0u);
  EXPECT_EQ(CompleteUtf8Prefix("abc"), 3u);
  EXPECT_EQ(CompleteUtf8Prefix("ab\xC3"), 2u);
  EXPECT_EQ(CompleteUtf8Prefix("ab\xC3\xA9"), 4u);
  EXPECT_EQ(CompleteUtf8Prefix("\xE2\x82"), 0u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xF0\x9F\x98"), 1u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xF0\x9F\x98\x80"), 5u);
  // Bytes that no continuation can save are not worth waiting for.
  EXPECT_EQ(CompleteUtf8Prefix("a\xFF"), 2u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xED\xA0"), 3u);
  EXPECT_EQ(CompleteUtf8Prefix("a\x80\x80"), 3u);
}

TEST(StringsTest, SplitKeepsEmptyParts) {
  EXPECT_EQ(Split("a,b", ','), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_EQ(Split("", ','), (std::vector<std::string_view>{""}));
  EXPECT_EQ(Split(",a,", ','), (std::vector<std::string_view>{"", "a", ""}));
}

TEST(StringsTest, JoinPutsTheSeparatorBetween) {
  EXPECT_EQ(Join({}, ", "), "");
  EXPECT_EQ(Join(std::vector<std::string>{"a"}, ", "), "a");
  EXPECT_EQ(Join(std::vector<std::string>{"a", "", "c"}, ", "), "a, , c");
}

TEST(StringsTest, HumanSizesUsePowersOfAThousand) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1000), "1.00 kB");
  EXPECT_EQ(HumanBytes(93'405'585'408), "93.41 GB");
  EXPECT_EQ(HumanBytes(999'999), "1.00 MB");
  EXPECT_EQ(HumanBytes(UINT64_MAX), "18.45 EB");
  EXPECT_EQ(HumanCount(512), "512");
  EXPECT_EQ(HumanCount(15'340'000), "15.34 M");
  EXPECT_EQ(HumanCount(46'702'792'704), "46.70 B");
  EXPECT_EQ(HumanCount(UINT64_MAX), "18446744.07 T");
}

TEST(StringsTest, PrintableShowsControlAndInvalidBytes) {
  EXPECT_EQ(Printable("plain \xC3\xA9"), "plain \xC3\xA9");
  EXPECT_EQ(Printable("a\nb\x1B[0m\x7F"), "a\\x0Ab\\x1B[0m\\x7F");
  EXPECT_EQ(Printable("\xFF\xC2\x9B"), "\\xFF\\xC2\\x9B");
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
}

TEST(StringsTest, PrintableCutsBetweenCharacters) {
  EXPECT_EQ(Printable("abcdef", 6), "abcdef");
  EXPECT_EQ(Printable("abcdefg", 6), "abcdef...");
  EXPECT_EQ(Printable("abcde\xC3\xA9", 6), "abcde...");
  EXPECT_EQ(Printable(std::string(1000, 'x')).size(), 83u);
}

TEST(StringsTest, NearestNameFindsTypingErrorsOnly) {
  const std::vector<std::string_view> names = {"temperature", "top-k", "top-p", "seed"};
  EXPECT_EQ(NearestName("temprature", names), "temperature");
  EXPECT_EQ(NearestName("temperaturre", names), "temperature");
  EXPECT_EQ(NearestName("sede", names), "");  // two edits of four letters
  EXPECT_EQ(NearestName("sed", names), "seed");
  EXPECT_EQ(NearestName("banana", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName(std::string(100'000, 'x'), names), "");
}

}  // namespace
}  // namespace mixtral
