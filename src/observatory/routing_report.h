// SPDX-License-Identifier: Apache-2.0
// A trace's figures as one JSON object, which is what `mixtral routing --json` prints, and the
// source of its tables, CSV files and page, so that all say the same.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "observatory/trace.h"

namespace mixtral::observatory {

/// against: a second model on the same or other text; nullptr: none.
Json MakeRoutingReport(const Trace& trace, const Trace* against);
/// The beginning of each domain with its experts, for coloured text: at most
/// n_tokens each. An array of {"domain", "tokens": [T], "experts": [L][T][k], "weights":
/// [L][T][k]}.
Json ColouredTexts(const Trace& trace, int64_t n_tokens);
/// The paper's Table 5 and what it reads off Figures 7, 9 and 10, as JSON.
Json PaperRouting();

/// Tables for a terminal.
std::string RoutingReportText(const Json& report);
/// (file name, content): shares.csv, repetition.csv, together.csv, similarity.csv, drift.csv,
/// tokens.csv.
std::vector<std::pair<std::string, std::string>> RoutingCsv(const Json& report);
/// One HTML file without other files: every figure, and the texts.
std::string RoutingPage(const Json& report, const Json& texts);

/// A text as a CSV field: quoted where it has to be; a beginning that a spreadsheet would take for
/// a formula gets a quote before it.
std::string CsvField(std::string_view text);

}  // namespace mixtral::observatory
