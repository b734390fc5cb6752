// SPDX-License-Identifier: Apache-2.0
#include "eval/answers.h"

#include <gtest/gtest.h>

namespace mixtral::eval {
namespace {

TEST(Answers, NormalisedAsSquadDoes) {
  EXPECT_EQ(NormalizeAnswer("  The Quick, brown\tfox! "), "quick brown fox");
  EXPECT_EQ(NormalizeAnswer("an apple a day"), "apple day");
  EXPECT_EQ(NormalizeAnswer("Theater"), "theater");
  EXPECT_EQ(NormalizeAnswer("14 December 1972 UTC"), "14 december 1972 utc");
  EXPECT_EQ(FoldAnswer("The Amish."), "the amish");
}

TEST(Answers, OverlapOfWords) {
  // 2 words in common of 3 and 4: 2 * 2 / 7.
  EXPECT_DOUBLE_EQ(WordF1("a big red dog", "red dog of Tom's"), 4.0 / 7.0);
  EXPECT_DOUBLE_EQ(WordF1("dog dog", "dog"), 2.0 / 3.0) << "a word counts as often as it is there";
  EXPECT_DOUBLE_EQ(WordF1("the", "a"), 1) << "both empty";
  EXPECT_DOUBLE_EQ(WordF1("x", ""), 0);
}

TEST(Answers, Numbers) {
  EXPECT_EQ(LastNumber("so 3 + 4 = 7 apples, $1,234.50."), "1234.50");
  EXPECT_EQ(LastNumber("it is -5."), "-5");
  EXPECT_EQ(LastNumber("no number"), "");
  EXPECT_EQ(FinalNumber("9 * 2 = <<9*2=18>>18\n#### 18\n\nQuestion: 5"), "18");
  EXPECT_EQ(FinalNumber("#### none 7"), "7");
  EXPECT_EQ(FinalNumber("the total is 12"), "12");
  EXPECT_TRUE(SameNumber("18", "18.0"));
  EXPECT_FALSE(SameNumber("18", "19"));
  EXPECT_FALSE(SameNumber("", ""));
}

TEST(Answers, MathInBoxes) {
  EXPECT_EQ(BoxedAnswer("so \\boxed{\\frac{1}{2}} and \\boxed{x^{2}}."), "x^{2}");
  EXPECT_EQ(BoxedAnswer("\\boxed{never closed"), "");
  EXPECT_TRUE(SameMath("\\frac12", "\\dfrac{1}{2}"));
  EXPECT_TRUE(SameMath("0.5", "1/2"));
  EXPECT_TRUE(SameMath("x = 5", "5"));
  EXPECT_TRUE(SameMath("10\\text{ cm}", "10"));
  EXPECT_TRUE(SameMath("\\left( 1, 2 \\right)", "(1,2)"));
  EXPECT_TRUE(SameMath("\\sqrt2", "\\sqrt{2}"));
  EXPECT_TRUE(SameMath("90^\\circ", "90"));
  EXPECT_FALSE(SameMath("2", "3"));
  EXPECT_FALSE(SameMath("x+y=5", "5"));
}

TEST(Answers, BigBenchHard) {
  EXPECT_EQ(AfterTheAnswerIs("A = True. So the answer is (B).\n"), "(B)");
  EXPECT_EQ(AfterTheAnswerIs("So the answer is not False"), "not False");
  EXPECT_EQ(AfterTheAnswerIs("It is (B)."), "");
}

TEST(Answers, MajorityIsTheEarliestOfTheMostFrequent) {
  EXPECT_EQ(Majority(std::vector<std::string>{"3", "5", "5", "3", "7"}), "3");
  EXPECT_EQ(Majority(std::vector<std::string>{"", "", "4"}), "4");
  EXPECT_EQ(Majority(std::vector<std::string>{"", ""}), "");
}

}  // namespace
}  // namespace mixtral::eval
