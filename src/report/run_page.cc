// SPDX-License-Identifier: Apache-2.0
// Sections that a run has no figures for are left out.
#include "report/run_page.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "report/page.h"
#include "report/svg_chart.h"

namespace mixtral::report {
namespace {

using Field = std::optional<double> StepMetrics::*;

std::vector<Point> Curve(const RunMetrics& metrics, Field field) {
  std::vector<Point> points;
  for (const StepMetrics& step : metrics.steps)
    if (step.*field) points.push_back({static_cast<double>(step.step), *(step.*field)});
  return points;
}

std::string Section(const std::string& heading, const std::string& chart) {
  return chart.empty() ? "" : fmt::format("<section><h2>{}</h2>{}</section>\n", heading, chart);
}

std::string FieldChart(const RunMetrics& metrics, Field field, const std::string& heading,
                       const std::string& y_label) {
  LineChart chart = {.y_label = y_label, .series = {}, .starts_at_zero = true};
  chart.series.push_back({.name = "", .points = Curve(metrics, field)});
  return Section(heading, DrawLines(chart));
}

std::string LossChart(const RunMetrics& metrics) {
  Series raw = {.name = "", .points = {}, .is_faint = true};
  for (const StepMetrics& step : metrics.steps)
    raw.points.push_back({static_cast<double>(step.step), step.loss});
  const Series smooth = {.name = "", .points = Smoothed(raw.points)};
  return Section("Training loss", DrawLines({.y_label = "loss", .series = {raw, smooth}}));
}

std::string HeldoutChart(const RunMetrics& metrics) {
  std::map<std::string, Series> by_domain;
  for (const Evaluation& evaluation : metrics.evaluations)
    for (const auto& [domain, result] : evaluation.domains) {
      Series& series = by_domain[domain];
      series.name = domain;
      series.has_marks = true;
      series.points.push_back({static_cast<double>(evaluation.step), result.loss});
    }
  LineChart chart = {.y_label = "loss", .series = {}};
  for (auto& [domain, series] : by_domain) chart.series.push_back(std::move(series));
  return Section("Held-out loss by domain", DrawLines(chart));
}

std::string HeldoutTable(const RunMetrics& metrics) {
  if (metrics.evaluations.empty()) return "";
  const Evaluation &first = metrics.evaluations.front(), &last = metrics.evaluations.back();
  const bool has_pairs = std::any_of(last.domains.begin(), last.domains.end(),
                                     [](const auto& entry) { return entry.second.margin; });
  std::string rows;
  for (const auto& [domain, result] : last.domains) {
    const auto before = first.domains.find(domain);
    rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.4f}</td>", Escaped(domain),
                        before == first.domains.end() ? std::string("-")
                                                      : fmt::format("{:.4f}", before->second.loss),
                        result.loss);
    // A loss over preferences is no mean of log-probabilities of tokens: it has no perplexity.
    rows += has_pairs ? fmt::format("<td>{:.3f}</td><td>{:.1f} %</td></tr>",
                                    result.margin.value_or(0), 100 * result.accuracy.value_or(0))
                      : fmt::format("<td>{:.2f}</td></tr>", std::exp(result.loss));
  }
  return fmt::format(
      "<section><h2>Held out</h2><table><tr><th>domain</th><th>step {}</th><th>step {}</th>"
      "{}</tr>{}</table></section>\n",
      first.step, last.step, has_pairs ? "<th>margin</th><th>accuracy</th>" : "<th>perplexity</th>",
      rows);
}

/// Means over runs of steps, so that long runs stay drawable.
HeatMap LayerMap(const RunMetrics& metrics, size_t layer) {
  constexpr size_t kMaxColumns = 140;
  const size_t n = metrics.steps.size(), per = (n + kMaxColumns - 1) / kMaxColumns;
  const size_t n_experts = metrics.steps[0].load[layer].size();
  HeatMap map = {.title = fmt::format("layer {}", layer), .x_begin = {}, .values = {}};
  map.row_name = "expert";
  map.middle = 1.0 / static_cast<double>(n_experts);
  map.values.resize(n_experts);
  for (size_t begin = 0; begin < n; begin += per) {
    const size_t end = std::min(n, begin + per);
    map.x_begin.push_back(static_cast<double>(metrics.steps[begin].step));
    for (size_t e = 0; e < n_experts; ++e) {
      double sum = 0;
      for (size_t i = begin; i < end; ++i) {
        const std::vector<double>& row = metrics.steps[i].load[layer];
        sum += e < row.size() ? row[e] : 0;
      }
      map.values[e].push_back(sum / static_cast<double>(end - begin));
    }
  }
  map.x_end = static_cast<double>(metrics.steps.back().step) + 1;
  return map;
}

std::string LoadMaps(const RunMetrics& metrics) {
  std::string maps;
  for (size_t layer = 0; layer < metrics.steps[0].load.size(); ++layer)
    if (!metrics.steps[0].load[layer].empty())
      maps += "<div>" + DrawHeatMap(LayerMap(metrics, layer)) + "</div>";
  if (maps.empty()) return "";
  return "<section><h2>Load of the experts over time</h2><p class='note'>Rows are experts, columns "
         "are steps. no token <span class='scale'></span> twice even load</p><div class='charts'>" +
         maps + "</div></section>\n";
}

std::string Alarms(const RunMetrics& metrics) {
  std::string items;
  for (const StepMetrics& step : metrics.steps)
    for (const std::string& alarm : step.alarms)
      items += fmt::format("<li>step {}: {}</li>", step.step, Escaped(alarm));
  return items.empty() ? "" : "<section><h2>Alarms</h2><ul>" + items + "</ul></section>\n";
}

double Median(std::vector<Point> points) {
  if (points.empty()) return 0;
  const auto middle = points.begin() + static_cast<std::ptrdiff_t>(points.size() / 2);
  std::nth_element(points.begin(), middle, points.end(),
                   [](const Point& a, const Point& b) { return a.y < b.y; });
  return middle->y;
}

std::string Figures(const RunMetrics& metrics) {
  const StepMetrics& last = metrics.steps.back();
  std::string text = PageFigure(Number(static_cast<double>(last.step)), "steps") +
                     PageFigure(HumanCount(static_cast<uint64_t>(last.tokens)), "tokens") +
                     PageFigure(fmt::format("{:.4f}", last.loss), "last training loss");
  if (!metrics.evaluations.empty() && !metrics.evaluations.back().domains.empty()) {
    double sum = 0;
    for (const auto& [domain, result] : metrics.evaluations.back().domains) sum += result.loss;
    const auto n = static_cast<double>(metrics.evaluations.back().domains.size());
    text += PageFigure(fmt::format("{:.4f}", sum / n), "held-out loss, mean of domains");
  }
  const auto speed = Curve(metrics, &StepMetrics::tokens_per_second);
  if (!speed.empty()) text += PageFigure(fmt::format("{:.0f}", Median(speed)), "tokens/s, median");
  const auto mfu = Curve(metrics, &StepMetrics::mfu);
  if (!mfu.empty()) text += PageFigure(fmt::format("{:.1f} %", 100 * Median(mfu)), "MFU, median");
  if (last.accuracy)
    text += PageFigure(fmt::format("{:.1f} %", 100 * *last.accuracy), "DPO accuracy");
  return "<div class='figures'>" + text + "</div>\n";
}

}  // namespace

std::string RunPage(const RunMetrics& metrics, const std::string& title) {
  std::string page = PageHead(title, "A training run of mixtral");
  page += Figures(metrics) + Alarms(metrics) + "<div class='charts'>\n";
  page += LossChart(metrics) + HeldoutChart(metrics);
  page += FieldChart(metrics, &StepMetrics::margin, "Reward margin", "margin");
  page += FieldChart(metrics, &StepMetrics::accuracy, "Preference accuracy", "accuracy");
  page += FieldChart(metrics, &StepMetrics::learning_rate, "Learning rate", "learning rate");
  page += FieldChart(metrics, &StepMetrics::grad_norm, "Gradient norm", "norm");
  page += FieldChart(metrics, &StepMetrics::balance, "Balance loss", "balance loss");
  page += FieldChart(metrics, &StepMetrics::tokens_per_second, "Speed", "tokens/s");
  page += "</div>\n" + HeldoutTable(metrics) + LoadMaps(metrics);
  return page + PageEnd();
}

}  // namespace mixtral::report
