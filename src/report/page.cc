// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"

#include "base/error.h"
#include "report/svg_chart.h"

namespace mixtral::report {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #222; --soft: #666; --line: #ddd; --page: #fff; --card: #f6f6f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a0a0a0; --line: #3a3a3a; --page: #181818; --card: #222; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  max-width: 1120px; padding: 24px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 28px 0 8px; }
h3 { font-size: 13px; font-weight: 600; margin: 12px 0 2px; color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; padding: 0; }
.figures div { background: var(--card); border-radius: 8px; padding: 10px 14px; min-width: 104px; }
.figures b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; }
.figures span, .note { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 8px 28px; }
svg { width: 100%; height: auto; display: block; }
.tick { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 1.8; } .faint { fill: none; stroke-width: 1; opacity: .3; }
.legend { margin: 2px 0 0 62px; font-size: 13px; display: flex; flex-wrap: wrap; gap: 4px 16px; }
.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 6px; vertical-align: middle; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; }
li { margin: 2px 0; } .scale { display: inline-block; width: 120px; height: 10px; vertical-align: middle;
  background: linear-gradient(90deg, #2166ac, #f0f0ec, #c8500a); margin: 0 6px; }
)";

}  // namespace

std::string PageHead(const std::string& title, const std::string& note, std::string_view style) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
      "<meta name='viewport' content='width=device-width, initial-scale=1'>"
      "<title>{0}</title><style>{1}{2}</style></head>\n<body><h1>{0}</h1>"
      "<p class='note'>{3}</p>\n",
      Escaped(title), kStyle, style, Escaped(note));
}

std::string PageFigure(const std::string& value, std::string_view name) {
  return fmt::format("<div><b>{}</b><span>{}</span></div>", value, name);
}

std::string PageEnd() { return "</body></html>\n"; }

}  // namespace mixtral::report
