// SPDX-License-Identifier: Apache-2.0
// Coordinates are rounded to a tenth of a unit: pages stay small.
#include "report/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace mixtral::report {
namespace {

constexpr double kWidth = 720, kHeight = 260, kLeft = 62, kRight = 12, kTop = 12, kBottom = 34;
// Paul Tol's bright scheme: told apart with any kind of colour vision.
constexpr std::array<const char*, 7> kColours = {"#4477aa", "#ee6677", "#228833", "#ccbb44",
                                                 "#66ccee", "#aa3377", "#888888"};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Frame {
  Range x, y;
  double X(double value) const {
    return kLeft + (value - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    return kHeight - kBottom - (value - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  }
};

bool IsFinite(const Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

void Widen(Range* range) {
  if (range->high > range->low) return;
  const double by = range->low == 0 ? 1 : std::abs(range->low) * 0.1;
  range->low -= by;
  range->high += by;
}

std::string Axes(const Frame& frame, const LineChart& chart) {
  std::string svg;
  for (const double tick : Ticks(frame.y.low, frame.y.high, 5)) {
    const double y = frame.Y(tick);
    svg += fmt::format(
        "<line class='grid' x1='{0:.1f}' x2='{1:.1f}' y1='{2:.1f}' y2='{2:.1f}'/>"
        "<text class='tick' x='{3:.1f}' y='{4:.1f}' text-anchor='end'>{5}</text>",
        kLeft, kWidth - kRight, y, kLeft - 6, y + 4, Number(tick));
  }
  for (const double tick : Ticks(frame.x.low, frame.x.high, 7)) {
    if (tick != std::floor(tick)) continue;
    svg += fmt::format("<text class='tick' x='{:.1f}' y='{:.1f}' text-anchor='middle'>{}</text>",
                       frame.X(tick), kHeight - kBottom + 16, Number(tick));
  }
  svg += fmt::format("<text class='tick' x='{:.1f}' y='{:.1f}' text-anchor='end'>{}</text>",
                     kWidth - kRight, kHeight - 4, Escaped(chart.x_label));
  svg += fmt::format(
      "<text class='tick' x='4' y='{:.1f}' transform='rotate(-90 12 {:.1f})' "
      "text-anchor='middle'>{}</text>",
      kHeight / 2, kHeight / 2, Escaped(chart.y_label));
  return svg;
}

std::string Path(const Series& series, const Frame& frame, const char* colour) {
  std::string path;
  bool is_open = false;
  for (const Point& point : series.points) {
    if (!IsFinite(point)) {
      is_open = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", is_open ? "L" : "M", frame.X(point.x), frame.Y(point.y));
    is_open = true;
  }
  return fmt::format("<path class='{}' stroke='{}' d='{}'/>", series.is_faint ? "faint" : "line",
                     colour, path);
}

std::string Marks(const Series& series, const Frame& frame, const char* colour,
                  const std::string& x_label) {
  std::string svg;
  for (const Point& point : series.points)
    if (IsFinite(point))
      svg += fmt::format(
          "<circle cx='{:.1f}' cy='{:.1f}' r='3' fill='{}'><title>{} at {} {}: "
          "{}</title></circle>",
          frame.X(point.x), frame.Y(point.y), colour, Escaped(series.name), Escaped(x_label),
          Number(point.x), Number(point.y));
  return svg;
}

/// Neutral at 0, orange at 1, blue at -1.
std::string Colour(double at) {
  constexpr std::array<double, 3> kBlue = {33, 102, 172}, kNeutral = {240, 240, 236},
                                  kOrange = {200, 80, 10};
  at = std::clamp(at, -1.0, 1.0);
  const auto& end = at < 0 ? kBlue : kOrange;
  std::array<int, 3> rgb;
  for (size_t i = 0; i < 3; ++i)
    rgb[i] = static_cast<int>(std::lround(kNeutral[i] + std::abs(at) * (end[i] - kNeutral[i])));
  return fmt::format("#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2]);
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '\'')
      out += "&#39;";
    else if (c == '"')
      out += "&quot;";
    else
      out.push_back(c);
  }
  return out;
}

std::string Number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e7)
    return fmt::format("{}", static_cast<int64_t>(value));
  if (std::abs(value) >= 0.001 && std::abs(value) < 1e6) return fmt::format("{:.4g}", value);
  return fmt::format("{:.2g}", value);
}

std::vector<double> Ticks(double low, double high, int n) {
  const double raw = (high - low) / n, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double nice : {1.0, 2.0, 5.0})
    if (raw <= nice * power) {
      step = nice * power;
      break;
    }
  std::vector<double> ticks;
  for (double i = std::ceil(low / step); i * step <= high + step * 1e-9; ++i)
    ticks.push_back(i * step);
  return ticks;
}

std::vector<Point> Smoothed(const std::vector<Point>& points) {
  const size_t half = std::max<size_t>(1, points.size() / 80);
  std::vector<Point> smooth;
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t begin = i - std::min(i, half), end = std::min(points.size(), i + half + 1);
    double sum = 0;
    for (size_t j = begin; j < end; ++j) sum += points[j].y;
    smooth.push_back({points[i].x, sum / static_cast<double>(end - begin)});
  }
  return smooth;
}

std::string DrawLines(const LineChart& chart) {
  Frame frame;
  for (const Series& series : chart.series)
    for (const Point& point : series.points) {
      if (!IsFinite(point)) continue;
      frame.x.Add(point.x);
      frame.y.Add(point.y);
    }
  if (frame.x.low > frame.x.high) return "";
  if (chart.starts_at_zero) frame.y.Add(0);
  Widen(&frame.x);
  Widen(&frame.y);
  std::string svg =
      fmt::format("<svg viewBox='0 0 {} {}' role='img'>", kWidth, kHeight) + Axes(frame, chart);
  std::string legend;
  size_t colour_idx = 0;
  for (const Series& series : chart.series) {
    const char* colour = kColours[(series.is_faint ? 0 : colour_idx++) % kColours.size()];
    svg += Path(series, frame, colour);
    if (series.has_marks) svg += Marks(series, frame, colour, chart.x_label);
    if (!series.is_faint && !series.name.empty())
      legend +=
          fmt::format("<span><i style='background:{}'></i>{}</span>", colour, Escaped(series.name));
  }
  return svg + "</svg>" + (legend.empty() ? "" : "<p class='legend'>" + legend + "</p>");
}

std::string DrawHeatMap(const HeatMap& map) {
  constexpr double kRow = 13, kLabels = 30;
  const double height = kRow * static_cast<double>(map.values.size());
  const double first = map.x_begin.front();
  const double scale = (kWidth - kLabels - kRight) / std::max(map.x_end - first, 1e-9);
  std::string svg = fmt::format(
      "<h3>{}</h3><svg viewBox='0 0 {} {:.0f}' shape-rendering="
      "'crispEdges' role='img'>",
      Escaped(map.title), kWidth, height);
  for (size_t row = 0; row < map.values.size(); ++row) {
    const double y = kRow * static_cast<double>(row);
    svg += fmt::format("<text class='tick' x='{:.1f}' y='{:.1f}' text-anchor='end'>{}</text>",
                       kLabels - 6, y + kRow - 2, row);
    for (size_t column = 0; column < map.x_begin.size(); ++column) {
      const double end = column + 1 < map.x_begin.size() ? map.x_begin[column + 1] : map.x_end;
      const double value = map.values[row][column];
      svg += fmt::format(
          "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{}' fill='{}'><title>{} {}, step {}: "
          "{} of even load</title></rect>",
          kLabels + (map.x_begin[column] - first) * scale, y,
          std::max((end - map.x_begin[column]) * scale, 0.5), kRow - 1,
          Colour(value / map.middle - 1), Escaped(map.row_name), row, Number(map.x_begin[column]),
          Number(std::round(value / map.middle * 100) / 100));
    }
  }
  return svg + "</svg>";
}

}  // namespace mixtral::report
