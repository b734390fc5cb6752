// SPDX-License-Identifier: Apache-2.0
// The report for a terminal and for spreadsheets, both read off its JSON.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "observatory/routing_report.h"
#include "report/text_table.h"

namespace mixtral::observatory {
namespace {

/// First, middle and last, as the paper shows its layers.
std::vector<size_t> ShownLayers(size_t n_layers) {
  std::vector<size_t> layers = {0, (n_layers - 1) / 2, n_layers - 1};
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  return layers;
}

std::string Percent(double value) { return fmt::format("{:.1f}", 100 * value); }

std::string Rate(const Json& interval) {
  const double half = (interval.At(2).AsDouble() - interval.At(1).AsDouble()) / 2;
  return fmt::format("{} +-{}", Percent(interval.At(size_t{0}).AsDouble()), Percent(half));
}

std::vector<Json> DomainsAndAll(const Json& report) {
  std::vector<Json> list;
  const Json domains = report.At("domains");
  for (size_t i = 0; i < domains.Size(); ++i) list.push_back(domains.At(i));
  list.push_back(report.At("all"));
  return list;
}

std::string RepetitionTable(const Json& report, const std::vector<size_t>& layers) {
  std::vector<std::vector<std::string>> rows = {{"domain", "tokens"}};
  for (const char* name : {"first", "common"})
    for (const size_t layer : layers) rows[0].push_back(fmt::format("{} L{}", name, layer));
  for (const Json& domain : DomainsAndAll(report)) {
    std::vector<std::string>& row = rows.emplace_back();
    row = {domain.At("name").AsString(), std::to_string(domain.At("tokens").AsInt())};
    for (const char* kind : {"first", "any"})
      for (const size_t layer : layers) row.push_back(Rate(domain.At("layers").At(layer).At(kind)));
  }
  std::vector<std::string>& random = rows.emplace_back();
  random = {"uniform random", "-"};
  for (const char* kind : {"first", "any"})
    random.insert(random.end(), layers.size(), Percent(report.At("baselines").At(kind).AsDouble()));
  return report::TextTable(rows);
}

std::string LoadTable(const Json& report) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "first", "common", "entropy", "largest", "smallest", "deviation", "1st weight"}};
  const Json layers = report.At("all").At("layers");
  for (size_t l = 0; l < layers.Size(); ++l) {
    const Json layer = layers.At(l);
    rows.push_back({std::to_string(l), Rate(layer.At("first")), Rate(layer.At("any")),
                    fmt::format("{:.3f}", layer.At("entropy_bits").AsDouble()),
                    fmt::format("{:.2f}", layer.At("max_load").AsDouble()),
                    fmt::format("{:.2f}", layer.At("min_load").AsDouble()),
                    fmt::format("{:.3f}", layer.At("load_deviation").AsDouble()),
                    fmt::format("{:.3f}", layer.At("first_weight").AsDouble())});
  }
  return report::TextTable(rows);
}

std::string AgreementTable(const Json& agreement) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "same first choice", "same experts", "load distance, bits"}};
  for (size_t l = 0; l < agreement.Size(); ++l)
    rows.push_back({std::to_string(l), Percent(agreement.At(l).At("same_first").AsDouble()),
                    Percent(agreement.At(l).At("same_experts").AsDouble()),
                    fmt::format("{:.4f}", agreement.At(l).At("load_distance_bits").AsDouble())});
  return report::TextTable(rows);
}

std::string SharesCsv(const Json& report) {
  std::string csv = "domain,layer,choice,expert,share\n";
  for (const Json& domain : DomainsAndAll(report)) {
    const std::string name = CsvField(domain.At("name").AsString());
    const Json layers = domain.At("layers");
    for (size_t l = 0; l < layers.Size(); ++l) {
      const auto add = [&](const std::string& choice, const Json& shares) {
        for (size_t e = 0; e < shares.Size(); ++e)
          csv += fmt::format("{},{},{},{},{}\n", name, l, choice, e, shares.At(e).AsDouble());
      };
      const Json choices = layers.At(l).At("choices");
      add("any", layers.At(l).At("shares"));
      for (size_t i = 0; i < choices.Size(); ++i) add(std::to_string(i + 1), choices.At(i));
    }
  }
  return csv;
}

std::string RepetitionCsv(const Json& report) {
  std::string csv = "domain,layer,kind,rate,low,high,random\n";
  for (const Json& domain : DomainsAndAll(report)) {
    const Json layers = domain.At("layers");
    for (size_t l = 0; l < layers.Size(); ++l)
      for (const char* kind : {"first", "any"}) {
        const Json rate = layers.At(l).At(kind);
        csv += fmt::format("{},{},{},{},{},{},{}\n", CsvField(domain.At("name").AsString()), l,
                           kind, rate.At(size_t{0}).AsDouble(), rate.At(1).AsDouble(),
                           rate.At(2).AsDouble(), report.At("baselines").At(kind).AsDouble());
      }
  }
  return csv;
}

/// cube [L][rows][columns] as lines of layer, row, column, value; names: of rows and columns.
std::string CubeCsv(const Json& cube, const std::string& head,
                    const std::vector<std::string>& names) {
  std::string csv = head + "\n";
  for (size_t l = 0; l < cube.Size(); ++l)
    for (size_t r = 0; r < names.size(); ++r)
      for (size_t c = 0; c < names.size(); ++c)
        csv +=
            fmt::format("{},{},{},{}\n", l, names[r], names[c], cube.At(l).At(r).At(c).AsDouble());
  return csv;
}

std::string DriftCsv(const Json& drift) {
  std::string csv = "first_position,tokens,layer,bits\n";
  for (size_t b = 0; b < drift.At("bits").Size(); ++b)
    for (size_t l = 0; l < drift.At("bits").At(b).Size(); ++l)
      csv +=
          fmt::format("{},{},{},{}\n", drift.At("first_position").At(b).AsInt(),
                      drift.At("tokens").At(b).AsInt(), l, drift.At("bits").At(b).At(l).AsDouble());
  return csv;
}

std::string TokensCsv(const Json& layers) {
  std::string csv = "layer,expert,token,text,here,count\n";
  for (size_t l = 0; l < layers.Size(); ++l)
    for (size_t e = 0; e < layers.At(l).Size(); ++e)
      for (size_t i = 0; i < layers.At(l).At(e).Size(); ++i) {
        const Json token = layers.At(l).At(e).At(i);
        csv += fmt::format("{},{},{},{},{},{}\n", l, e, token.At("id").AsInt(),
                           CsvField(token.At("text").AsString()), token.At("here").AsInt(),
                           token.At("count").AsInt());
      }
  return csv;
}

}  // namespace

std::string CsvField(std::string_view text) {
  std::string field;
  if (!text.empty() && std::string_view("=+-@\t\r").find(text[0]) != std::string_view::npos)
    field += '\'';
  field += text;
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string quoted = "\"";
  for (const char c : field) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string RoutingReportText(const Json& report) {
  const Json model = report.At("model");
  const std::vector<size_t> layers = ShownLayers(static_cast<size_t>(model.At("n_layers").AsInt()));
  std::string text = fmt::format(
      "{}: {} tokens, {} layers, {} of {} experts a token\n\n"
      "Consecutive tokens with the same first choice, and with an expert in common, in percent:\n",
      Printable(model.At("path").AsString(), 200), report.At("tokens").AsInt(),
      model.At("n_layers").AsInt(), model.At("experts_per_token").AsInt(),
      model.At("n_experts").AsInt());
  text +=
      RepetitionTable(report, layers) + "\nAll domains (load beside an even one; entropy of " +
      fmt::format("{:.3f} bits at most):\n", report.At("baselines").At("entropy_bits").AsDouble()) +
      LoadTable(report);
  if (const auto against = report.Find("against")) {
    text += "\nBeside " + Printable(against->At("model").At("path").AsString(), 200);
    const auto agreement = against->Find("agreement");
    text += agreement ? ", in percent of the tokens:\n" + AgreementTable(*agreement)
                      : ": other tokens or another shape, nothing to compare token by token\n";
  }
  return text;
}

std::vector<std::pair<std::string, std::string>> RoutingCsv(const Json& report) {
  std::vector<std::string> experts, domains;
  for (int64_t e = 0; e < report.At("model").At("n_experts").AsInt(); ++e)
    experts.push_back(std::to_string(e));
  for (size_t i = 0; i < report.At("domains").Size(); ++i)
    domains.push_back(CsvField(report.At("domains").At(i).At("name").AsString()));
  return {
      {"shares.csv", SharesCsv(report)},
      {"repetition.csv", RepetitionCsv(report)},
      {"together.csv",
       CubeCsv(report.At("together"), "layer,expert,other,tokens_with_both", experts)},
      {"similarity.csv", CubeCsv(report.At("similarity_bits"), "layer,domain,other,bits", domains)},
      {"drift.csv", DriftCsv(report.At("drift"))},
      {"tokens.csv", TokensCsv(report.At("tokens_of_experts"))}};
}

}  // namespace mixtral::observatory
