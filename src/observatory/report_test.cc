// SPDX-License-Identifier: Apache-2.0
// The report in all its forms: the figures are those of statistics.h, and no text of a trace can
// become anything but text.
#include <gtest/gtest.h>

#include "observatory/routing_report.h"
#include "observatory/statistics.h"
#include "observatory/test_traces.h"

namespace mixtral::observatory {
namespace {

using testing::Sequence;
using testing::SmallInfo;

constexpr const char* kHostile = "</script><img src=x onerror=alert(1)>\"'&\xff";

Trace HostileTrace() {
  Trace trace = {.info = SmallInfo(),
                 .pieces = {{7, kHostile}, {8, "\n"}, {9, "=cmd|x,\"y\""}},
                 .sequences = {}};
  trace.info.model = kHostile;
  std::vector<std::vector<int>> choices;
  std::vector<TokenId> tokens;
  for (int i = 0; i < 30; ++i) {
    tokens.push_back(7 + i % 3);
    choices.push_back({i % 3, 3});
  }
  trace.sequences.push_back(Sequence(kHostile, tokens, choices));
  trace.sequences.push_back(Sequence("b", tokens, choices));
  return trace;
}

TEST(RoutingReport, FiguresAreThoseOfTheStatistics) {
  const Trace trace = HostileTrace();
  const Json report = MakeRoutingReport(trace, &trace);
  EXPECT_EQ(report.At("tokens").AsInt(), 60);
  EXPECT_NEAR(report.At("baselines").At("any").AsDouble(), 5 / 6.0, 1e-5);
  const DomainCounts all = Total(trace.info, CountDomains(trace));
  const Json layer = report.At("all").At("layers").At(size_t{0});
  EXPECT_NEAR(layer.At("first").At(size_t{0}).AsDouble(),
              RepeatRate(all.layers[0].first, all).value, 1e-5);
  EXPECT_EQ(layer.At("any").At(size_t{0}).AsDouble(), 1);  // expert 3 is with every token
  EXPECT_EQ(layer.At("max_load").AsDouble(), 2);           // half of the assignments of 4 experts
  EXPECT_NEAR(layer.At("choices").At(size_t{0}).At(1).AsDouble(), 1 / 3.0, 1e-5);
  EXPECT_EQ(report.At("similarity_bits").At(size_t{0}).At(size_t{0}).At(1).AsDouble(), 0);
  EXPECT_EQ(report.At("together").At(size_t{0}).At(3).At(3).AsDouble(), 1);
  const Json best = report.At("tokens_of_experts").At(size_t{0}).At(1).At(size_t{0});
  EXPECT_EQ(best.At("id").AsInt(), 8);
  EXPECT_EQ(best.At("here").AsInt(), 20);
  const Json agreement = report.At("against").At("agreement").At(size_t{0});
  EXPECT_EQ(agreement.At("same_first").AsDouble(), 1);
}

TEST(RoutingReport, ColouredTextsHoldTheBeginningOfEachDomain) {
  const Json texts = ColouredTexts(HostileTrace(), 4);
  ASSERT_EQ(texts.Size(), 2u);
  EXPECT_EQ(texts.At(1).At("domain").AsString(), "b");
  EXPECT_EQ(texts.At(1).At("tokens").Size(), 4u);
  EXPECT_EQ(texts.At(1).At("tokens").At(1).AsString(), "\n");
  EXPECT_EQ(texts.At(1).At("experts").At(size_t{0}).At(2).AsIntArray(),
            (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(texts.At(1).At("weights").At(size_t{0}).At(2).AsIntArray(),
            (std::vector<int64_t>{50, 50}));
}

TEST(RoutingPage, TextStaysText) {
  const Trace trace = HostileTrace();
  const std::string page = RoutingPage(MakeRoutingReport(trace, nullptr), ColouredTexts(trace, 30));
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_NE(page.find("\\u003c/script>\\u003cimg"), std::string::npos);
  EXPECT_EQ(page.find("http://www.w3.org/2000/svg"), page.rfind("http"));  // a name, not an address
  EXPECT_EQ(page.find("https:"), std::string::npos);
  // Three blocks of data and the script: nothing ended one of them before its end.
  size_t n_ends = 0;
  for (size_t at = page.find("</script>"); at != std::string::npos;
       at = page.find("</script>", at + 1))
    ++n_ends;
  EXPECT_EQ(n_ends, 4u);
}

TEST(RoutingCsv, FieldsAreQuotedAndNoFormula) {
  EXPECT_EQ(CsvField("plain"), "plain");
  EXPECT_EQ(CsvField("a,b"), "\"a,b\"");
  EXPECT_EQ(CsvField("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(CsvField("=1+1"), "'=1+1");
  EXPECT_EQ(CsvField("\n"), "\"\n\"");
  for (const auto& [name, csv] : RoutingCsv(MakeRoutingReport(HostileTrace(), nullptr)))
    if (name == "tokens.csv") {
      EXPECT_NE(csv.find("9,\"'=cmd|x,\"\"y\"\"\",20,20"), std::string::npos) << csv;
    }
}

TEST(RoutingReport, TextNamesDomainsAndBaselines) {
  const std::string text = RoutingReportText(MakeRoutingReport(HostileTrace(), nullptr));
  EXPECT_NE(text.find("uniform random"), std::string::npos);
  EXPECT_NE(text.find("25.0"), std::string::npos);
  EXPECT_NE(text.find("83.3"), std::string::npos);
}

}  // namespace
}  // namespace mixtral::observatory
