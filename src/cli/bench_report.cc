// SPDX-License-Identifier: Apache-2.0
// Tables of medians with their intervals.
#include "cli/bench_report.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace mixtral::cli {
namespace {

uint64_t Unsigned(const Json& object, std::string_view key) {
  return static_cast<uint64_t>(object.At(key).AsInt(0));
}

double Real(const Json& object, std::string_view key) { return object.At(key).AsDouble(); }

std::string Interval(const Json& figure) {
  return fmt::format("{:.4g}..{:.4g}", Real(figure, "min"), Real(figure, "max"));
}

std::string MachineText(const Json& result) {
  const Json machine = result.At("machine"), settings = result.At("settings");
  const auto threads = settings.At("threads").AsIntArray();
  return fmt::format("machine    {}, {} CPUs, {} of L3, {} of memory; kernels {}, {} threads\n",
                     Printable(machine.At("cpu").AsString()), machine.At("cpus").AsInt(),
                     HumanBytes(Unsigned(machine, "l3_bytes")),
                     HumanBytes(Unsigned(machine, "memory_bytes")), result.At("isa").AsString(),
                     threads.back());
}

std::string ModelText(const Json& result) {
  const Json model = result.At("model"), types = model.At("bytes_by_type");
  std::string bytes;
  for (const std::string& type : types.Keys())
    bytes +=
        fmt::format("{}{} {}", bytes.empty() ? "" : ", ", type, HumanBytes(Unsigned(types, type)));
  std::string text =
      fmt::format("model      {}: {} layers, {} parameters, {} active; {}\n",
                  Printable(model.At("path").AsString(), 1000), model.At("layers").AsInt(),
                  HumanCount(Unsigned(model, "parameters")),
                  HumanCount(Unsigned(model, "active_parameters")), bytes);
  if (model.At("experts").AsInt() > 0)
    text += fmt::format("routing    the most loaded expert of {} has {:.2f} times the mean\n",
                        model.At("experts").AsInt(), Real(model, "routing_max_over_mean"));
  return text;
}

std::string CeilingsText(const Json& ceilings) {
  std::string text;
  for (size_t i = 0; i < ceilings.Size(); ++i) {
    const Json ceiling = ceilings.At(i);
    text += fmt::format("{:<11}{:<12}{:>8.2f} {:<6} ({})\n", i == 0 ? "ceilings" : "",
                        ceiling.At("name").AsString(), Real(ceiling, "median"),
                        ceiling.At("unit").AsString(), Interval(ceiling));
  }
  return text;
}

std::string FigureText(const Json& figure) {
  std::string text =
      fmt::format("{:<28}{:>9.4g} {:<9}{:<18}", figure.At("name").AsString(),
                  Real(figure, "median"), figure.At("unit").AsString(), Interval(figure));
  if (figure.Find("gb_per_s"))
    text += fmt::format("{:>7.2f}{:>8.1f}{:>7.0f}%{:>7.0f}%{:>7.0f}%", Real(figure, "gb_per_s"),
                        Real(figure, "gop_per_s"), Real(figure, "percent_of_read"),
                        Real(figure, "percent_of_peak"), Real(figure, "percent_of_limit"));
  return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace

std::string BenchText(const Json& result) {
  std::string text = MachineText(result) + ModelText(result) + CeilingsText(result.At("ceilings"));
  text += fmt::format(
      "\n{:<28}{:>9} {:<9}{:<18}{:>7}{:>8}{:>8}{:>8}{:>8}\n",
      fmt::format("median of {} rounds", result.At("settings").At("repetitions").AsInt()), "", "",
      "min..max", "GB/s", "Gop/s", "read", result.At("peak").AsString(), "limit");
  const Json figures = result.At("figures");
  for (size_t i = 0; i < figures.Size(); ++i) text += FigureText(figures.At(i));
  return text;
}

std::string ComparisonText(const std::vector<Comparison>& comparisons,
                           const std::vector<std::string>& differences, const std::string& path) {
  std::string text = fmt::format("\ncompared with {}\n", Printable(path, 1000));
  for (const std::string& difference : differences)
    text += fmt::format("note: not the same {}\n", Printable(difference, 1000));
  for (const Comparison& c : comparisons) {
    const double ratio = c.before.median != 0 ? c.now.median / c.before.median : 0;
    text += fmt::format("{:<28}{:>9.4g} -> {:>9.4g} {:<9} x{:<7.3f}{}\n", c.name, c.before.median,
                        c.now.median, c.unit, ratio, VerdictName(c.verdict));
  }
  return text;
}

}  // namespace mixtral::cli
