// SPDX-License-Identifier: Apache-2.0
#include "report/share_grid.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "report/svg_chart.h"

namespace mixtral::report {
namespace {

constexpr double kWidth = 720, kLeft = 74, kTop = 8, kBottom = 44, kRight = 4, kCellHeight = 30;

struct Colours {
  std::string cell;
  const char* letters;
};

/// Between the two ends through a light middle; letters light on the strong ends.
Colours ColoursOf(double share) {
  constexpr std::array<double, 3> kNone = {200, 80, 10}, kHalf = {240, 236, 228},
                                  kAll = {33, 102, 172};
  const double at = std::clamp(share, 0.0, 1.0) * 2 - 1;
  const auto& end = at < 0 ? kNone : kAll;
  std::array<int, 3> rgb;
  for (size_t i = 0; i < 3; ++i)
    rgb[i] = static_cast<int>(std::lround(kHalf[i] + std::abs(at) * (end[i] - kHalf[i])));
  return {.cell = fmt::format("#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2]),
          .letters = std::abs(at) > 0.7 ? "#fff" : "#222"};
}

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text class='mark' x='{:.1f}' y='{:.1f}' text-anchor='{}'>{}</text>", x, y,
                     anchor, Escaped(text));
}

}  // namespace

std::string DrawShareGrid(const ShareGrid& grid) {
  if (grid.columns.empty() || grid.rows.empty()) return "";
  const auto n_columns = static_cast<double>(grid.columns.size());
  const double bottom = kTop + kCellHeight * static_cast<double>(grid.rows.size());
  const double width = (kWidth - kLeft - kRight) / n_columns;
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {:.0f}' role='img'><style>.mark {{ "
      "font: "
      "11px system-ui, sans-serif; fill: #666; }} .share {{ font: 11px system-ui, sans-serif; }} "
      ".hole {{ "
      "fill: none; stroke: #888; stroke-dasharray: 3 3; opacity: .6; }} @media "
      "(prefers-color-scheme: dark) "
      "{{ .mark {{ fill: #a0a0a0; }} }}</style>",
      kWidth, bottom + kBottom);
  for (size_t row = 0; row < grid.rows.size(); ++row) {
    const double y = kTop + kCellHeight * static_cast<double>(row);
    svg += Text(kLeft - 8, y + kCellHeight / 2 + 4, "end", grid.rows[row]);
    for (size_t column = 0; column < grid.columns.size(); ++column) {
      const double x = kLeft + width * static_cast<double>(column),
                   value = grid.values[row][column];
      const std::string place =
          fmt::format("x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' rx='2'", x + 1, y + 1,
                      width - 2, kCellHeight - 2);
      if (!std::isfinite(value)) {
        svg += fmt::format("<rect class='hole' {}/>", place);
        continue;
      }
      const Colours colours = ColoursOf(value);
      const int percent = static_cast<int>(std::lround(100 * value));
      svg +=
          fmt::format("<rect {} fill='{}'><title>{}, {}: {} %</title></rect>", place, colours.cell,
                      Escaped(grid.columns[column]), Escaped(grid.rows[row]), percent);
      if (width >= 26)
        svg += fmt::format(
            "<text class='share' x='{:.1f}' y='{:.1f}' text-anchor='middle' fill='{}'>{}</text>",
            x + width / 2, y + kCellHeight / 2 + 4, colours.letters, percent);
    }
  }
  // Names of columns, as many as there is room for.
  const size_t every = std::max<size_t>(1, static_cast<size_t>(std::ceil(44 / width)));
  for (size_t column = every - 1; column < grid.columns.size(); column += every)
    svg += Text(kLeft + width * (static_cast<double>(column) + 0.5), bottom + 16, "middle",
                grid.columns[column]);
  svg += Text((kLeft + kWidth) / 2, bottom + 36, "middle", grid.x_label);
  const double middle = (kTop + bottom) / 2;
  svg += fmt::format(
      "<text class='mark' x='12' y='{0:.1f}' transform='rotate(-90 12 {0:.1f})' "
      "text-anchor='middle'>{1}"
      "</text></svg>",
      middle, Escaped(grid.y_label));
  return svg;
}

}  // namespace mixtral::report
