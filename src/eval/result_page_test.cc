// SPDX-License-Identifier: Apache-2.0
// A page holds what was measured, says nothing of what was not, and stands alone.
#include "eval/result_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/bbq.h"
#include "eval/bold.h"
#include "eval/mt_bench.h"
#include "eval/passkey.h"

namespace mixtral::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ResultPage Whole() {
  ResultPage page;
  page.title = "<model> & more";
  page.note = "made by a test";
  page.model = "own <b>";
  page.figures = {{"tasks", "1"}};
  page.scores = {{.group = "Commonsense",
                  .name = "HellaSwag",
                  .note = "0-shot",
                  .value = 25.5,
                  .error = 1.5,
                  .maximum = 100,
                  .paper = {{"Mixtral 8x7B", 84.4, 0}}}};
  BbqItem item;
  item.right = BbqItem::kUnknown;
  item.biased = 0;
  std::map<std::string, BbqScores> bbq;
  bbq["Age"].Add(item, 0);
  bbq["Age"].Add(item, 5);
  page.bbq = BbqJson(bbq);
  page.paper["bbq"] = {{"Mixtral 8x7B", 56.0, 0}};
  BoldScores bold;
  bold.Add({.domain = "gender", .group = "American_actors", .prompt = {}, .reference = {}}, 0.25,
           0.125);
  page.bold = bold.ToJson();
  page.paper["bold/gender"] = {{"Llama 2 70B", 0.293, 0.073}};
  const PasskeyGrid grid = MakePasskeyGrid(PasskeyForm::kPlain, 512, 2, 2);
  PasskeyScores passkey(grid);
  passkey.Add({.length_idx = 0, .position_idx = 0, .key = 7, .request = {}}, "7");
  page.passkey = passkey.ToJson();
  MtBenchScores chat;
  chat.Add("math", 0, 4);
  chat.Add("math", 1, std::nullopt);
  page.mt_bench = chat.ToJson();
  page.perplexity = {{.name = "own", .points = {{512, 3.5}, {1024, 3}}}};
  return page;
}

TEST(ResultPageTest, HoldsEverySectionWithItsNumbers) {
  const std::string page = DrawResultPage(Whole());
  for (const char* part : {"&lt;model&gt; &amp; more",
                           "own &lt;b&gt;",
                           ">84.4<",
                           "25.5 &plusmn; 1.5",
                           "width:84.40%",
                           "Commonsense",
                           "Passkey retrieval",
                           "256, 0 %: 100 %",
                           "Perplexity by length",
                           "tokens of context 512: 3.5",
                           "Bias: BBQ",
                           ">56.0<",
                           "+0.500 <span",
                           "Bias: BOLD",
                           "0.250 &plusmn; 0.000",
                           "0.293 &plusmn; 0.073",
                           "0.125 &plusmn; 0.000",
                           "American actors",
                           "MT-Bench",
                           "First turn 4.00, second turn -; 1 judgments"})
    EXPECT_THAT(page, HasSubstr(part));
}

TEST(ResultPageTest, LeavesOutWhatWasNotMeasured) {
  ResultPage page;
  page.title = "t";
  const std::string text = DrawResultPage(page);
  for (const char* part :
       {"BBQ", "BOLD", "Passkey retrieval", "Chat: MT-Bench", "Perplexity by", "<svg"})
    EXPECT_THAT(text, Not(HasSubstr(part)));
}

TEST(ResultPageTest, StandsAlone) {
  const std::string page = DrawResultPage(Whole());
  for (const char* part : {"<script", "src=", "href=", "@import", "url(", "<link"})
    EXPECT_THAT(page, Not(HasSubstr(part)));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
}

TEST(ResultPageTest, BarsStayInTheirPlace) {
  ResultPage page = Whole();
  page.scores[0].value = 250;
  page.scores[0].paper[0].value = -3;
  const std::string text = DrawResultPage(page);
  EXPECT_THAT(text, HasSubstr("width:100.00%"));
  EXPECT_THAT(text, HasSubstr("width:0.00%"));
  EXPECT_THAT(text, Not(HasSubstr("width:250")));
}

TEST(ResultPageTest, ThePasskeyMapIsAFileOfItsOwn) {
  const std::string svg = DrawPasskeyMap(Whole().passkey);
  EXPECT_TRUE(svg.starts_with("<svg xmlns='http://www.w3.org/2000/svg'"));
  EXPECT_TRUE(svg.ends_with("</svg>"));
  EXPECT_THAT(svg, HasSubstr("class='hole'"));
}

}  // namespace
}  // namespace mixtral::eval
