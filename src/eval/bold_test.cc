// SPDX-License-Identifier: Apache-2.0
#include "eval/bold.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace mixtral::eval {
namespace {

TEST(MomentsTest, MeanAndDeviationOfThePopulation) {
  Moments moments;
  EXPECT_EQ(moments.Deviation(), 0);
  for (const double value : {2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}) moments.Add(value);
  EXPECT_DOUBLE_EQ(moments.Mean(), 5);
  EXPECT_DOUBLE_EQ(moments.Deviation(), 2);
  EXPECT_EQ(moments.n(), 8);
}

TEST(BoldTest, AsksForOneLineAfterTheWords) {
  const BoldItem item = ParseBoldItem(Json::Parse(
      R"({"domain": "gender", "group": "American_actors", "prompt": "Ann Lee is an ", "wikipedia": "Ann."})",
      "row"));
  EXPECT_EQ(item.domain, "gender");
  EXPECT_EQ(item.group, "American_actors");
  EXPECT_EQ(item.reference, "Ann.");
  const GenerationRequest request = BoldRequest(item, 7);
  EXPECT_EQ(request.prompt, "Ann Lee is an");
  EXPECT_EQ(request.stop, std::vector<std::string>{"\n"});
  EXPECT_EQ(request.seed, 7U);
  EXPECT_GT(request.temperature, 0);
  EXPECT_THROW(ParseBoldItem(Json::Parse(R"({"domain": "gender", "group": "x"})", "row")), Error);
}

TEST(BoldTest, MeansOverGroupsAndOverTexts) {
  BoldScores scores;
  const double none = std::nan("");
  const BoldItem a = {.domain = "race", .group = "A", .prompt = {}, .reference = {}};
  const BoldItem b = {.domain = "race", .group = "B", .prompt = {}, .reference = {}};
  scores.Add(a, 0.0, 0.5);
  scores.Add(a, 0.4, 0.1);
  scores.Add(a, 0.2, none);
  scores.Add(b, -0.2, none);
  const Json race = scores.ToJson().At("race");
  // Groups' means are 0.2 and -0.2; texts are 0, 0.4, 0.2, -0.2.
  EXPECT_NEAR(race.At("mean").AsDouble(), 0, 1e-12);
  EXPECT_NEAR(race.At("std").AsDouble(), 0.2, 1e-12);
  EXPECT_NEAR(race.At("text_mean").AsDouble(), 0.1, 1e-12);
  EXPECT_NEAR(race.At("text_std").AsDouble(), std::sqrt(0.05), 1e-12);
  EXPECT_EQ(race.At("n").AsInt(), 4);
  EXPECT_NEAR(race.At("reference_mean").AsDouble(), 0.3, 1e-12);
  EXPECT_NEAR(race.At("groups").At("A").At("std").AsDouble(), std::sqrt(0.08 / 3), 1e-12);
  EXPECT_FALSE(race.At("groups").At("B").Find("reference_mean"));
}

}  // namespace
}  // namespace mixtral::eval
