// SPDX-License-Identifier: Apache-2.0
// Metrics are read strictly but for a torn end, and a page holds what was in them.
#include "report/run_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "report/svg_chart.h"

namespace mixtral::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kRun =
    "{\"step\":0,\"heldout\":{\"en\":{\"loss\":5.5},\"fr\":{\"loss\":6}}}\n"
    "{\"step\":1,\"loss\":5.25,\"lr\":0.1,\"grad_norm\":2,\"tokens\":64,\"tokens_per_second\":100,"
    "\"mfu\":0.25,\"load\":[[0.25,0.75],[0.5,0.5]],\"alarms\":[]}\n"
    "{\"step\":2,\"loss\":4.75,\"lr\":0.2,\"tokens\":128,\"load\":[[0,1],[0.5,0.5]],"
    "\"alarms\":[\"dead expert: layer 0 expert 0 <now>\"]}\n"
    "{\"step\":2,\"heldout\":{\"en\":{\"loss\":4.5},\"fr\":{\"loss\":5}}}\n";

std::string ErrorOf(const std::string& text) {
  try {
    ParseMetrics(text, "m.jsonl");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ParseMetrics, ReadsStepsAndEvaluations) {
  const RunMetrics metrics = ParseMetrics(std::string(kRun) + "{\"step\":3,\"lo", "m.jsonl");
  ASSERT_EQ(metrics.steps.size(), 2u);
  EXPECT_EQ(metrics.steps[1].step, 2);
  EXPECT_EQ(metrics.steps[1].loss, 4.75);
  EXPECT_FALSE(metrics.steps[1].grad_norm.has_value());
  EXPECT_THAT(metrics.steps[0].load[0], ElementsAre(0.25, 0.75));
  ASSERT_EQ(metrics.evaluations.size(), 2u);
  EXPECT_EQ(metrics.evaluations[1].domains.at("fr").loss, 5);
}

TEST(ParseMetrics, WrongLinesAreNamed) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("found none, in m.jsonl"));
  EXPECT_THAT(ErrorOf("{}\n{\n"), HasSubstr("m.jsonl:2"));
  EXPECT_THAT(ErrorOf("{\"step\":1,\"loss\":null}\n{\"step\":-1,\"loss\":1}\n"),
              HasSubstr("$.step"));
  EXPECT_THAT(ErrorOf("{\"step\":1,\"loss\":1,\"load\":[[1]]}\n{\"step\":2,\"loss\":1}\n"),
              HasSubstr("expected the load of 1 layers in step 2, found 0"));
}

TEST(RunPage, HoldsFiguresChartsAndAlarms) {
  const std::string page = RunPage(ParseMetrics(kRun, "m"), "a & b");
  for (const char* part :
       {"<h1>a &amp; b</h1>", "Training loss", "Held-out loss by domain", "Learning rate",
        "<td>en</td><td>5.5000</td><td>4.5000</td><td>90.02</td>",
        "step 2: dead expert: layer 0 expert 0 &lt;now&gt;", "<h3>layer 1</h3>",
        "expert 1, step 2: 2 of even load", "expert 0, step 1: 0.5 of even load"})
    EXPECT_THAT(page, HasSubstr(part));
  for (const char* part : {"<script", "http:", "https:", "nan", "inf", "Preference accuracy"})
    EXPECT_THAT(page, Not(HasSubstr(part))) << part;
}

TEST(RunPage, PreferencesHaveMarginsAndNoPerplexity) {
  const std::string page =
      RunPage(ParseMetrics("{\"step\":1,\"loss\":0.7,\"lr\":0.1}\n{\"step\":1,\"heldout\":{\"en\":"
                           "{\"loss\":0.5,\"margin\":0.25,\"accuracy\":0.75}}}\n",
                           "m"),
              "dpo");
  EXPECT_THAT(page, HasSubstr("<td>en</td><td>0.5000</td><td>0.5000</td><td>0.250</td><td>75.0 %"));
  EXPECT_THAT(page, Not(HasSubstr("perplexity")));
}

TEST(RunPage, LongRunsStaySmall) {
  std::string text;
  for (int step = 1; step <= 5000; ++step)
    text += fmt::format("{{\"step\":{},\"loss\":{},\"load\":[[0.5,0.5]]}}\n", step, 5.0 / step);
  const std::string page = RunPage(ParseMetrics(text, "m"), "long");
  size_t n_cells = 0;
  for (size_t at = 0; (at = page.find("<rect", at)) != std::string::npos; ++at) ++n_cells;
  EXPECT_EQ(n_cells, 2u * 139);
  EXPECT_LT(page.size(), 400000u);
}

TEST(Charts, GapsAndSinglePoints) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(DrawLines({.y_label = "y", .series = {{.name = "a", .points = {{1, nan}}}}}), "");
  const std::string one =
      DrawLines({.y_label = "y", .series = {{.name = "a", .points = {{1, 2}}}}});
  EXPECT_THAT(one, Not(HasSubstr("nan")));
  const std::string gap = DrawLines(
      {.y_label = "y", .series = {{.name = "a", .points = {{1, 2}, {2, nan}, {3, 4}, {4, 5}}}}});
  EXPECT_EQ(std::count(gap.begin(), gap.end(), 'M'), 2);
}

TEST(Charts, RoundNumbers) {
  EXPECT_THAT(Ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(Ticks(0.12, 0.31, 4),
              ElementsAre(::testing::DoubleEq(0.15), ::testing::DoubleEq(0.2),
                          ::testing::DoubleEq(0.25), ::testing::DoubleEq(0.3)));
  EXPECT_EQ(Number(1234), "1234");
  EXPECT_EQ(Number(0.12345), "0.1235");
  EXPECT_EQ(Number(0.00012), "0.00012");
}

}  // namespace
}  // namespace mixtral::report
