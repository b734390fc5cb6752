// SPDX-License-Identifier: Apache-2.0
// Line charts and heat maps as SVG text: axes with round numbers, a legend, a tooltip on points and
// cells through <title>. Knows nothing about training.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mixtral::report {

struct Point {
  double x, y;
};

struct Series {
  std::string name;
  std::vector<Point> points;  // x ascending; points that are not finite break the line
  bool is_faint = false;      // a backdrop: thin, without a legend
  bool has_marks = false;     // a dot at every point
};

struct LineChart {
  std::string y_label;
  std::vector<Series> series;
  bool starts_at_zero = false;
  std::string x_label = "step";
};

/// An <svg> element of 720 x 260; empty when no series has a finite point.
std::string DrawLines(const LineChart& chart);

struct HeatMap {
  std::string title;
  std::vector<double> x_begin;  // [columns] of each column; ascending
  double x_end = 0;
  std::vector<std::vector<double>> values;  // [rows][columns]
  double middle = 1;                        // the value in neutral colour
  std::string row_name = {};                // "expert"
};

/// Blue below the middle, orange above; the strongest colour is at 0 and twice the middle.
std::string DrawHeatMap(const HeatMap& map);

/// Round numbers that cover [low, high], about n of them.
std::vector<double> Ticks(double low, double high, int n);
/// A moving average over about a fortieth of the points.
std::vector<Point> Smoothed(const std::vector<Point>& points);
std::string Number(double value);            // 4 significant digits: "1.234", "3e-04"
std::string Escaped(std::string_view text);  // for HTML

}  // namespace mixtral::report
