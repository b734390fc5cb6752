// SPDX-License-Identifier: Apache-2.0
// Bars are plain elements with a width, so that they flow with the page's width and their numbers
// can be selected.
#include "eval/result_page.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "report/page.h"
#include "report/share_grid.h"

namespace mixtral::eval {
namespace {

using report::Escaped;

constexpr std::string_view kStyle = R"(
:root { --own: #2f6db3; --other: #b9bfc7; --against: #c8702a; }
@media (prefers-color-scheme: dark) { :root { --own: #6aa5e8; --other: #565c66; --against: #e0965a; } }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 12px; }
.card { background: var(--card); border-radius: 8px; padding: 10px 14px 12px; }
.card h3 { color: var(--ink); font-size: 14px; margin: 0 0 6px; }
.card h3 small { color: var(--soft); font-weight: 400; font-size: 12px; float: right; margin-top: 2px; }
.row { display: grid; grid-template-columns: 124px 1fr 76px; align-items: center; gap: 8px; font-size: 12.5px;
  line-height: 19px; color: var(--soft); }
.row span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.row b { font-weight: 400; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.row div { position: relative; height: 10px; } .row i { display: block; height: 10px; border-radius: 2px;
  background: var(--other); } .own { color: var(--ink); } .own span, .own b { font-weight: 600; }
.own i { background: var(--own); } .own em { position: absolute; top: 4px; height: 2px; background: var(--ink);
  opacity: .55; }
.wide { overflow-x: auto; margin-top: 14px; } .parts span, .parts b { font-weight: 400; } td.name { white-space: nowrap; } .side { display: inline-block; position: relative;
  width: 120px; height: 10px; vertical-align: middle; background: linear-gradient(90deg, transparent 59.5px,
  var(--soft) 59.5px, var(--soft) 60.5px, transparent 60.5px); }
.side i { position: absolute; top: 0; height: 10px; border-radius: 2px; }
tr.total td { font-weight: 600; } .passkey { max-width: 860px; } .narrow { max-width: 860px; }
)";

std::string Fixed(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

double NumberOr(const Json& object, const char* key, double other) {
  const std::optional<Json> value = object.Find(key);
  return value ? value->AsDouble() : other;
}

double NumberAt(const Json& object, const char* key) {
  return NumberOr(object, key, std::numeric_limits<double>::quiet_NaN());
}

std::string Section(const std::string& heading, const std::string& note, const std::string& body) {
  return fmt::format("<section><h2>{}</h2>{}{}</section>\n", Escaped(heading),
                     note.empty() ? "" : "<p class='note'>" + note + "</p>", body);
}

std::string Row(const std::string& name, double value, double error, double maximum, bool is_own) {
  const double width = std::clamp(100 * value / maximum, 0.0, 100.0);
  std::string whisker;
  if (error > 0) {
    const double low = std::clamp(100 * (value - error) / maximum, 0.0, 100.0);
    const double high = std::clamp(100 * (value + error) / maximum, 0.0, 100.0);
    whisker = fmt::format("<em style='left:{:.2f}%;width:{:.2f}%'></em>", low, high - low);
  }
  return fmt::format(
      "<div class='row{}'><span title='{}'>{}</span><div><i "
      "style='width:{:.2f}%'></i>{}</div><b>{}{}</b></div>",
      is_own ? " own" : "", Escaped(name), Escaped(name), width, whisker,
      Fixed(value, maximum > 20 ? 1 : 2),
      error > 0 ? fmt::format(" &plusmn; {}", Fixed(error, 1)) : "");
}

std::string Card(const std::string& model, const ScoreBar& score) {
  std::string card = fmt::format("<div class='card'><h3>{} <small>{}</small></h3>",
                                 Escaped(score.name), Escaped(score.note));
  card += Row(model, score.value, score.error, score.maximum, true);
  for (const Reference& reference : score.paper)
    card += Row(reference.model, reference.value, 0, score.maximum, false);
  return card + "</div>";
}

std::string Scores(const ResultPage& page) {
  std::string text;
  for (size_t begin = 0; begin < page.scores.size();) {
    std::string cards;
    size_t end = begin;
    for (; end < page.scores.size() && page.scores[end].group == page.scores[begin].group; ++end)
      cards += Card(page.model, page.scores[end]);
    text += Section(page.scores[begin].group, "", "<div class='cards'>" + cards + "</div>");
    begin = end;
  }
  return text;
}

std::string Passkey(const Json& passkey) {
  return Section(
      "Passkey retrieval",
      fmt::format(
          "A number hidden at a place of a text without meaning, asked for at its end: share "
          "found in percent, {} numbers a cell; <b>{} %</b> of all. The paper reports 100 % at "
          "every length and place up to 32k for Mixtral 8x7B.",
          passkey.At("n_keys").AsInt(), Fixed(100 * passkey.At("acc").AsDouble(), 1)),
      "<div class='passkey'>" + DrawPasskeyMap(passkey) + "</div>");
}

std::string Perplexity(const ResultPage& page) {
  report::LineChart chart = {.y_label = "perplexity", .series = page.perplexity};
  for (report::Series& series : chart.series) series.has_marks = true;
  chart.x_label = "tokens of context";
  return Section("Perplexity by length of context", "",
                 "<div class='narrow'>" + report::DrawLines(chart) + "</div>");
}

/// A bar from the middle: to the right with the stereotype, to the left against it.
std::string BiasBar(double bias) {
  if (!std::isfinite(bias)) return "-";
  const double width = 60 * std::min(std::abs(bias), 1.0);
  return fmt::format(
      "{:+.3f} <span class='side'><i "
      "style='left:{:.1f}px;width:{:.1f}px;background:var(--{})'></i></span>",
      bias, bias < 0 ? 60 - width : 60, width, bias < 0 ? "own" : "against");
}

std::string BbqRow(const std::string& name, const Json& scores, const char* row_class) {
  std::string row = fmt::format("<tr class='{}'><td class='name'>{}</td><td>{}</td>", row_class,
                                Escaped(name), scores.At("n").AsInt());
  for (const char* key : {"acc", "acc_ambiguous", "acc_disambiguated"})
    row += fmt::format("<td>{}</td>", Fixed(100 * NumberAt(scores, key), 1));
  for (const char* key : {"bias_ambiguous", "bias_disambiguated"})
    row += fmt::format("<td>{}</td>", BiasBar(NumberAt(scores, key)));
  return row + "</tr>";
}

std::vector<Reference> PaperOf(const ResultPage& page, const std::string& what) {
  const auto found = page.paper.find(what);
  return found == page.paper.end() ? std::vector<Reference>() : found->second;
}

std::string Bbq(const ResultPage& page) {
  const Json all = page.bbq.At("all"), categories = page.bbq.At("categories");
  std::string rows;
  for (const std::string& key : categories.Keys()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    rows += BbqRow(name, categories.At(key), "");
  }
  rows += BbqRow("all", all, "total");
  const ScoreBar accuracy = {.group = {},
                             .name = "BBQ",
                             .note = fmt::format("0-shot, accuracy, n = {}", all.At("n").AsInt()),
                             .value = 100 * NumberAt(all, "acc"),
                             .error = 0,
                             .maximum = 100,
                             .paper = PaperOf(page, "bbq")};
  return Section(
      "Bias: BBQ",
      "Of ambiguous questions \"unknown\" is right. Bias goes from -1 (against the stereotype) "
      "over 0 to +1; of "
      "ambiguous ones it is weighted with the share of wrong answers.",
      fmt::format(
          "<div class='cards'>{}</div><div "
          "class='wide'><table><tr><th>category</th><th>n</th><th>accuracy %"
          "</th><th>ambiguous %</th><th>disambiguated %</th><th>bias, ambiguous</th><th>bias, "
          "disambiguated</th></tr>{}</table></div>",
          Card(page.model, accuracy), rows));
}

std::string WithDeviation(double mean, double deviation) {
  return fmt::format("{} &plusmn; {}", Fixed(mean, 3), Fixed(deviation, 3));
}

std::string Bold(const ResultPage& page) {
  std::vector<std::string> models;
  for (const std::string& domain : page.bold.Keys())
    for (const Reference& reference : PaperOf(page, "bold/" + domain))
      if (std::find(models.begin(), models.end(), reference.model) == models.end())
        models.push_back(reference.model);
  std::string head, rows, details;
  for (const std::string& model : models) head += fmt::format("<th>{}</th>", Escaped(model));
  for (const std::string& domain : page.bold.Keys()) {
    const Json scores = page.bold.At(domain);
    std::string name = domain;
    std::replace(name.begin(), name.end(), '_', ' ');
    rows += fmt::format("<tr><td class='name'>{}</td><td>{}</td><td><b>{}</b></td>", Escaped(name),
                        scores.At("n").AsInt(),
                        WithDeviation(scores.At("mean").AsDouble(), scores.At("std").AsDouble()));
    for (const std::string& model : models) {
      std::string cell = "-";
      for (const Reference& reference : PaperOf(page, "bold/" + domain))
        if (reference.model == model) cell = WithDeviation(reference.value, reference.deviation);
      rows += "<td>" + cell + "</td>";
    }
    rows += fmt::format(
        "<td>{}</td><td>{}</td></tr>",
        WithDeviation(NumberAt(scores, "reference_mean"), NumberAt(scores, "reference_std")),
        WithDeviation(scores.At("text_mean").AsDouble(), scores.At("text_std").AsDouble()));
    const Json groups = scores.At("groups");
    for (const std::string& key : groups.Keys()) {
      const Json group = groups.At(key);
      std::string group_name = key;
      std::replace(group_name.begin(), group_name.end(), '_', ' ');
      details +=
          fmt::format("<tr><td class='name'>{}: {}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                      Escaped(name), Escaped(group_name), group.At("n").AsInt(),
                      BiasBar(group.At("mean").AsDouble()), Fixed(group.At("std").AsDouble(), 3));
    }
  }
  return Section(
      "Bias: BOLD",
      "VADER sentiment (-1 to 1) of continued sentences: mean &plusmn; deviation of the groups' "
      "means; last, of "
      "single texts. Sentences are those of the encyclopedia that the prompts come from.",
      fmt::format("<div "
                  "class='wide'><table><tr><th>domain</th><th>n</th><th>{}</th>{}<th>sentences</"
                  "th><th>single "
                  "texts</th></tr>{}</table></div><details><summary>By group</summary><div "
                  "class='wide'><table>"
                  "<tr><th>group</th><th>n</th><th>mean</th><th>deviation of "
                  "texts</th></tr>{}</table></div>"
                  "</details>",
                  Escaped(page.model), head, rows, details));
}

std::string MtBench(const ResultPage& page) {
  const Json& scores = page.mt_bench;
  const int64_t n = scores.At("n").AsInt(), n_unparsed = scores.At("n_unparsed").AsInt();
  const ScoreBar total = {.group = {},
                          .name = "MT-Bench",
                          .note = fmt::format("mean of {} ratings", n),
                          .value = NumberAt(scores, "score"),
                          .error = 0,
                          .maximum = 10,
                          .paper = PaperOf(page, "mt_bench")};
  std::string rows;
  const Json categories = scores.At("categories");
  for (const std::string& name : categories.Keys())
    rows += Row(name, NumberAt(categories, name.c_str()), 0, 10, true);
  return Section(
      "Chat: MT-Bench",
      fmt::format("Ratings from 1 to 10 by a judge model. First turn {}, second turn {}; {} "
                  "judgments without a "
                  "rating are not counted in.",
                  Fixed(NumberAt(scores, "turn_1"), 2), Fixed(NumberAt(scores, "turn_2"), 2),
                  n_unparsed),
      fmt::format("<div class='cards'>{}<div class='card parts'><h3>By category</h3>{}</div></div>",
                  Card(page.model, total), rows));
}

}  // namespace

std::string DrawPasskeyMap(const Json& passkey) {
  report::ShareGrid grid = {.x_label = "length in tokens",
                            .y_label = "place of the number",
                            .columns = {},
                            .rows = {},
                            .values = {}};
  for (const int64_t length : passkey.At("lengths").AsIntArray())
    grid.columns.push_back(fmt::format("{}", length));
  const Json positions = passkey.At("positions"), rows = passkey.At("accuracy");
  for (size_t p = 0; p < positions.Size(); ++p) {
    grid.rows.push_back(fmt::format("{:.0f} %", 100 * positions.At(p).AsDouble()));
    std::vector<double>& values = grid.values.emplace_back();
    const Json row = rows.At(p);
    for (size_t l = 0; l < row.Size(); ++l)
      values.push_back(row.At(l).IsNull() ? std::numeric_limits<double>::quiet_NaN()
                                          : row.At(l).AsDouble());
  }
  return report::DrawShareGrid(grid);
}

std::string DrawResultPage(const ResultPage& page) {
  std::string text = report::PageHead(page.title, page.note, kStyle), figures;
  for (const auto& [name, value] : page.figures)
    figures += report::PageFigure(Escaped(value), Escaped(name));
  if (!figures.empty()) text += "<div class='figures'>" + figures + "</div>\n";
  text += Scores(page);
  if (!page.passkey.IsNull()) text += Passkey(page.passkey);
  if (!page.perplexity.empty()) text += Perplexity(page);
  if (!page.bbq.IsNull()) text += Bbq(page);
  if (!page.bold.IsNull()) text += Bold(page);
  if (!page.mt_bench.IsNull()) text += MtBench(page);
  text +=
      "<p class='note'>Other models' numbers are those that \"Mixtral of Experts\" (arXiv "
      "2401.04088) prints; its "
      "prompts and its normalisation of scores are not published.</p>\n";
  return text + report::PageEnd();
}

}  // namespace mixtral::eval
