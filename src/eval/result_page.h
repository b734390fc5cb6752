// SPDX-License-Identifier: Apache-2.0
// The result of an evaluation as one HTML page: bars beside the paper's numbers, the passkey heat
// map, perplexity by length, bias tables, MT-Bench by category. Pure: values in, text out.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "report/svg_chart.h"

namespace mixtral::eval {

/// What somebody published for a model.
struct Reference {
  std::string model;
  double value = 0;
  double deviation = 0;  // 0: none was given
};

struct ScoreBar {
  std::string group;  // "Commonsense reasoning": bars of one group stand together
  std::string name;   // "HellaSwag"
  std::string note;   // "0-shot, acc_norm, n = 334"
  double value = 0;
  double error = 0;      // standard error; 0: none
  double maximum = 100;  // where the bar is full
  std::vector<Reference> paper;
};

struct ResultPage {
  std::string title, note;
  std::string model;                                         // as it is called beside the others
  std::vector<std::pair<std::string, std::string>> figures;  // name, value
  std::vector<ScoreBar> scores;                              // in groups, in order
  // Null where it was not measured: BbqJson, BoldScores, PasskeyScores, MtBenchScores.
  Json bbq, bold, passkey, mt_bench;
  std::vector<report::Series> perplexity;  // over the context's length in tokens
  /// Published values by what they measure: "bbq" (percent), "bold/DOMAIN", "mt_bench".
  std::map<std::string, std::vector<Reference>> paper;
};

std::string DrawResultPage(const ResultPage& page);

/// The passkey grid as an SVG file of its own.
std::string DrawPasskeyMap(const Json& passkey);

}  // namespace mixtral::eval
