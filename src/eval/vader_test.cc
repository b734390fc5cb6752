// SPDX-License-Identifier: Apache-2.0
// Hand-computed sentences, the outputs that the method's authors print in their README, a table
// made with the npm package vader-sentiment (tests/oracles/vader/score.mjs, the lexicon below), and
// that package's scores of any number of sentences when tests/oracles/vader/run names them.
#include "eval/vader.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/strings.h"

namespace mixtral::eval {
namespace {

constexpr std::string_view kLexicon =
    "smart\t1.7\nhandsome\t2.2\nfunny\t1.9\ngood\t1.9\nhorrible\t-2.5\ngreat\t3.1\nsux\t-1.5\t0.5\t"
    "[-1, "
    "-2]\nlol\t2.9\nlol\t1.8\n:)\t2.0\n:d\t2.3\nsure\t1.3\nuncompelling\t-0.9\nbad\t-2.5\nno\t-1."
    "2\r\n";

const Vader& Small() {
  static const Vader vader(kLexicon, "test");
  return vader;
}

double Compound(std::string_view text) { return Small().Score(text).compound; }
double Normalised(double sum) { return std::round(sum / std::sqrt(sum * sum + 15) * 1e4) / 1e4; }

TEST(VaderTest, SumsValencesAndNormalises) {
  EXPECT_DOUBLE_EQ(Compound("The harbour was good."), Normalised(1.9));
  EXPECT_DOUBLE_EQ(Compound("good, bad"), Normalised(1.9 - 2.5));
  const Sentiment score = Small().Score("a good day");  // one word of 1.9 + 1, two neutral ones
  EXPECT_DOUBLE_EQ(score.positive, 0.592);
  EXPECT_DOUBLE_EQ(score.neutral, 0.408);
  EXPECT_DOUBLE_EQ(score.negative, 0);
}

TEST(VaderTest, DegreeAdverbsFadeWithDistance) {
  EXPECT_DOUBLE_EQ(Compound("it was very good"), Normalised(1.9 + 0.293));
  EXPECT_DOUBLE_EQ(Compound("it was very much good"), Normalised(1.9 + 0.293 * 0.95));
  EXPECT_DOUBLE_EQ(Compound("very much here good"), Normalised(1.9 + 0.293 * 0.9));
  EXPECT_DOUBLE_EQ(Compound("it was slightly bad"), Normalised(-2.5 + 0.293));
  EXPECT_DOUBLE_EQ(Compound("it was sort of good"), Normalised(1.9 - 0.293));
  EXPECT_DOUBLE_EQ(Compound("it was just enough good"), Normalised(1.9 - 0.293));
}

TEST(VaderTest, CapitalsCountOnlyBesideSmallLetters) {
  EXPECT_DOUBLE_EQ(Compound("it was GOOD"), Normalised(1.9 + 0.733));
  EXPECT_DOUBLE_EQ(Compound("IT WAS GOOD"), Normalised(1.9));
  EXPECT_DOUBLE_EQ(Compound("it was VERY bad"), Normalised(-2.5 - 0.293 - 0.733));
}

TEST(VaderTest, NegationReachesThreeWordsBack) {
  EXPECT_DOUBLE_EQ(Compound("Not good"), Normalised(1.9 * -0.74));
  EXPECT_DOUBLE_EQ(Compound("it isn't all that good"), Normalised(1.9 * -0.74));
  EXPECT_DOUBLE_EQ(Compound("not one of these good"), Normalised(1.9));
  EXPECT_DOUBLE_EQ(Compound("never so good"), Normalised((1.9 + 0.293) * 1.25));
  EXPECT_DOUBLE_EQ(Compound("without doubt good"), Normalised(1.9));
  EXPECT_DOUBLE_EQ(Compound("without salt good"), Normalised(1.9 * -0.74));
  EXPECT_DOUBLE_EQ(Compound("no good"), Normalised(1.9 * -0.74));  // "no" itself counts nothing
  EXPECT_DOUBLE_EQ(Compound("oh no"), Normalised(-1.2));
  EXPECT_DOUBLE_EQ(Compound("the least good"), Normalised(1.9 * -0.74));
  EXPECT_DOUBLE_EQ(Compound("at least good"), Normalised(1.9));
}

TEST(VaderTest, ButWeighsWhatFollows) {
  EXPECT_DOUBLE_EQ(Compound("good but bad"), Normalised(1.9 * 0.5 - 2.5 * 1.5));
  // Twice the same valence after it: both count as after it.
  EXPECT_DOUBLE_EQ(Compound("bad but good and good"), Normalised(-2.5 * 0.5 + 2 * 1.9 * 1.5));
}

TEST(VaderTest, PunctuationAddsEmphasisUpToALimit) {
  EXPECT_DOUBLE_EQ(Compound("it was good!"), Normalised(1.9 + 0.292));
  EXPECT_DOUBLE_EQ(Compound("it was good!!!!!!"), Normalised(1.9 + 4 * 0.292));
  EXPECT_DOUBLE_EQ(Compound("was it bad?"), Normalised(-2.5));
  EXPECT_DOUBLE_EQ(Compound("was it bad???"), Normalised(-2.5 - 3 * 0.18));
  EXPECT_DOUBLE_EQ(Compound("was it bad????"), Normalised(-2.5 - 0.96));
}

TEST(VaderTest, IdiomsReplaceTheValence) {
  EXPECT_DOUBLE_EQ(Compound("it is a bad ass"), Normalised(1.5));
  const Vader vader("death\t-2.9\nkiss\t1.8\n", "test");
  EXPECT_DOUBLE_EQ(vader.Score("it was a kiss of death").compound,
                   Normalised(-1.5 - 1.5));  // seen from "kiss" and from "death"
}

TEST(VaderTest, TokensKeepEmoticonsAndSplitAtAnySpace) {
  EXPECT_DOUBLE_EQ(Compound("here :)"), Normalised(2.0));
  EXPECT_DOUBLE_EQ(Compound("here\xC2\xA0good\xE2\x80\x83 \n(bad)"), Normalised(1.9 - 2.5));
  EXPECT_DOUBLE_EQ(Small().Score("").neutral, 0);
  EXPECT_DOUBLE_EQ(Small().Score(" \n").compound, 0);
}

TEST(VaderTest, RefusesWhatIsNoLexicon) {
  for (const char* text :
       {"", "good 1.9\n", "good\tvery\n", "good\t1.9x\n", "\t1\n", "good\tnan\n"})
    EXPECT_THROW(Vader(text, "file"), Error) << text;
  try {
    Vader("bad\t-2\ngood\n", "words.txt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("words.txt:2"), std::string::npos) << error.what();
  }
}

TEST(VaderTest, AMissingLexiconSaysWhereOneIs) {
  try {
    Vader::Open("/no/such/lexicon.txt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    const std::string message = error.what();
    EXPECT_NE(message.find("--vader-lexicon"), std::string::npos) << message;
    EXPECT_NE(message.find("/no/such/lexicon.txt"), std::string::npos) << message;
  }
}

struct Known {
  const char* text;
  double negative, neutral, positive, compound;
};

void ExpectScore(const Vader& vader, const Known& known) {
  const Sentiment score = vader.Score(known.text);
  EXPECT_NEAR(score.negative, known.negative, 1e-9) << known.text;
  EXPECT_NEAR(score.neutral, known.neutral, 1e-9) << known.text;
  EXPECT_NEAR(score.positive, known.positive, 1e-9) << known.text;
  EXPECT_NEAR(score.compound, known.compound, 1e-9) << known.text;
}

// Without "At least it isn't a horrible book.", whose shares there are those of an earlier release,
// which left one-letter words out.
TEST(VaderTest, AgreesWithTheAuthorsReadme) {
  for (const Known& known : std::initializer_list<Known>{
           {"VADER is smart, handsome, and funny.", 0, 0.254, 0.746, 0.8316},
           {"VADER is smart, handsome, and funny!", 0, 0.248, 0.752, 0.8439},
           {"VADER is very smart, handsome, and funny.", 0, 0.299, 0.701, 0.8545},
           {"VADER is VERY SMART, handsome, and FUNNY.", 0, 0.246, 0.754, 0.9227},
           {"VADER is VERY SMART, handsome, and FUNNY!!!", 0, 0.233, 0.767, 0.9342},
           {"VADER is VERY SMART, uber handsome, and FRIGGIN FUNNY!!!", 0, 0.294, 0.706, 0.9469},
           {"VADER is not smart, handsome, nor funny.", 0.646, 0.354, 0, -0.7424},
           {"The book was good.", 0, 0.508, 0.492, 0.4404},
           {"The book was only kind of good.", 0, 0.697, 0.303, 0.3832},
           {"The plot was good, but the characters are uncompelling and the dialog is not great.",
            0.327, 0.579, 0.094, -0.7042},
           {"Today SUX!", 0.779, 0.221, 0, -0.5461},
           {"Today only kinda sux! But I'll get by, lol", 0.127, 0.556, 0.317, 0.5249},
           {"Make sure you :) or :D today!", 0, 0.294, 0.706, 0.8633},
           {"Not bad at all", 0, 0.513, 0.487, 0.431}})
    ExpectScore(Small(), known);
}

TEST(VaderTest, AgreesWithTheNpmPackage) {
  for (const Known& known : std::initializer_list<Known>{
           {"the old harbour town was good", 0, 0.633, 0.367, 0.4404},
           {"the old harbour town was very good", 0, 0.653, 0.347, 0.4927},
           {"the old harbour town was really very good", 0, 0.668, 0.332, 0.5379},
           {"the old harbour town was VERY GOOD", 0, 0.563, 0.437, 0.6867},
           {"her brother was horrible to them", 0.412, 0.588, 0, -0.5423},
           {"her brother was slightly horrible to them", 0.348, 0.652, 0, -0.4951},
           {"her brother was never horrible to them", 0, 0.678, 0.322, 0.431},
           {"her brother was not at all horrible", 0, 0.678, 0.322, 0.431},
           {"the soup isn't good", 0.445, 0.555, 0, -0.3412},
           {"the soup was good, but the bread was horrible", 0.347, 0.511, 0.142, -0.5859},
           {"the soup was good but the bread was horrible and the wine bad", 0.443, 0.466, 0.091,
            -0.8608},
           {"is this great???", 0, 0.301, 0.699, 0.6848},
           {"was it bad??", 0.659, 0.341, 0, -0.594},
           {"her least good work", 0.445, 0.555, 0, -0.3412},
           {"her at least good work", 0, 0.58, 0.42, 0.4404},
           {"it was sort of great", 0, 0.512, 0.488, 0.5868},
           {"she was hardly ever good to him", 0, 0.696, 0.304, 0.3862},
           {":) great town", 0, 0.123, 0.877, 0.7964},
           {"the meeting had seven members", 0, 1, 0, 0},
           {"great, great, great fun", 0, 0.075, 0.925, 0.9231}})
    ExpectScore(Small(), known);
}

TEST(VaderOracle, AgreesWhereTheRulesAreTheSame) {
  const char* table = getenv("MIXTRAL_VADER_ORACLE");
  const char* lexicon = getenv("MIXTRAL_VADER_LEXICON");
  if (table == nullptr || lexicon == nullptr)
    GTEST_SKIP() << "tests/oracles/vader/run makes the table";
  const Vader vader = Vader::Open(lexicon);
  const std::string rows = ReadTextFile(table);
  std::map<std::string, std::pair<int, int>> by_verdict;  // rows, rows with the same compound score
  for (const std::string_view row : Split(rows, '\n')) {
    const auto fields = Split(row, '\t');
    if (fields.size() < 6) continue;
    const auto number = [&](size_t i) {
      return std::strtod(std::string(fields[i]).c_str(), nullptr);
    };
    const std::string_view text = row.substr(static_cast<size_t>(fields[5].data() - row.data()));
    const Sentiment score = vader.Score(text);
    auto& [n, n_equal] = by_verdict[std::string(fields[0])];
    ++n;
    n_equal += std::abs(score.compound - number(4)) < 1e-6 ? 1 : 0;
    if (fields[0] != "same") continue;
    // Half a unit of the last digit, for ties that the two round differently.
    EXPECT_NEAR(score.negative, number(1), 1.001e-3) << text;
    EXPECT_NEAR(score.positive, number(3), 1.001e-3) << text;
    EXPECT_NEAR(score.compound, number(4), 1.001e-4) << text;
  }
  for (const auto& [verdict, count] : by_verdict)
    std::cout << verdict << ": " << count.first << " texts, " << count.second << " equal\n";
  EXPECT_GT(by_verdict["same"].first, 100);
}

}  // namespace
}  // namespace mixtral::eval
