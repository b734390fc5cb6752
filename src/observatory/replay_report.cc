// SPDX-License-Identifier: Apache-2.0
// Everything is computed once into the JSON object; text and page read it.
#include "observatory/replay_report.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/strings.h"
#include "observatory/replay_cache.h"
#include "observatory/replay_devices.h"
#include "report/page.h"
#include "report/svg_chart.h"
#include "report/text_table.h"

namespace mixtral::observatory {
namespace {

Json CountsJson(const CacheCounts& counts, const Trace& trace, const ReplayOptions& options) {
  const int64_t n = TokensOf(trace);
  Json json = Json::Object();
  json.Set("hit_rate", counts.hit_rate());
  json.Set("bytes_per_token", static_cast<double>(counts.loads()) / static_cast<double>(n) *
                                  static_cast<double>(trace.info.expert_bytes));
  json.Set("tokens_per_s",
           TokensPerSecond(counts, trace.info, n,
                           {.memory_rate = options.memory_rate, .disk_rate = options.disk_rate}));
  return json;
}

Json CachesJson(const Trace& trace, const ReplayOptions& options) {
  const std::vector<int32_t> uses = UsesOf(trace);
  Json list = Json::Array();
  for (const int size : options.cache_sizes) {
    Json row = Json::Object();
    row.Set("experts", size).Set("bytes", static_cast<uint64_t>(size) * trace.info.expert_bytes);
    Json policies = Json::Object();
    for (const CachePolicy policy : kCachePolicies)
      policies.Set(CachePolicyName(policy),
                   CountsJson(ReplayCache(uses, trace.info, size, policy), trace, options));
    Json predictors = Json::Object();
    for (const Predictor predictor : kPredictors) {
      const CacheCounts counts = ReplayPrefetch(trace, size, predictor, options.n_guesses);
      Json json = CountsJson(counts, trace, options);
      const auto right = static_cast<double>(counts.right);
      json.Set("guessed_right", right / static_cast<double>(std::max<int64_t>(1, counts.guessed)));
      json.Set("uses_guessed", right / static_cast<double>(counts.uses));
      predictors.Set(PredictorName(predictor), std::move(json));
    }
    list.Push(row.Set("policies", std::move(policies)).Set("predictors", std::move(predictors)));
  }
  return list;
}

Json DevicesJson(const Trace& trace, const ReplayOptions& options) {
  const int64_t n = TokensOf(trace), half = n / 2;
  Json list = Json::Array();
  for (const int n_devices : options.devices) {
    Json placements = Json::Object();
    for (const Placement placement : kPlacements) {
      const auto device_of = PlaceExperts(trace, {.begin = 0, .end = half}, n_devices, placement);
      const DeviceCost cost = ReplayDevices(trace, {.begin = half, .end = n}, device_of,
                                            {.n_devices = n_devices,
                                             .batch = options.batch,
                                             .memory_rate = options.memory_rate,
                                             .link_rate = options.link_rate});
      placements.Set(PlacementName(placement), Json::Object()
                                                   .Set("imbalance", cost.imbalance)
                                                   .Set("remote_devices", cost.remote)
                                                   .Set("bytes_per_token", cost.bytes_per_token)
                                                   .Set("tokens_per_s", cost.tokens_per_second));
    }
    list.Push(Json::Object().Set("devices", n_devices).Set("placements", std::move(placements)));
  }
  return list;
}

std::string Percent(double value) { return fmt::format("{:.1f}", 100 * value); }

using Cell = std::function<std::string(const Json& entry)>;

/// A line for each of rows, its first cells by head, then one for each member of row.At(group).
std::string Grid(const Json& rows, const std::vector<std::string>& head_names, const Cell& head,
                 const char* group, const Cell& cell) {
  std::vector<std::vector<std::string>> table = {head_names};
  for (const std::string& name : rows.At(size_t{0}).At(group).Keys()) table[0].push_back(name);
  for (size_t i = 0; i < rows.Size(); ++i) {
    std::vector<std::string>& row = table.emplace_back();
    row.push_back(head(rows.At(i)));
    for (const std::string& name : rows.At(i).At(group).Keys())
      row.push_back(cell(rows.At(i).At(group).At(name)));
  }
  return report::TextTable(table);
}

report::LineChart Chart(const Json& rows, const char* group, const char* value, double scale,
                        const char* y_label) {
  report::LineChart chart = {
      .y_label = y_label, .series = {}, .starts_at_zero = true, .x_label = "experts in the cache"};
  for (const std::string& name : rows.At(size_t{0}).At(group).Keys()) {
    report::Series series = {.name = name, .points = {}, .has_marks = false};
    for (size_t i = 0; i < rows.Size(); ++i)
      series.points.push_back({static_cast<double>(rows.At(i).At("experts").AsInt()),
                               scale * rows.At(i).At(group).At(name).At(value).AsDouble()});
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::string HtmlTable(const Json& rows) {
  std::string html =
      "<table><tr><th>placement</th><th>devices</th><th>imbalance</th><th>remote devices of a "
      "token</th><th>bytes sent a token</th><th>tokens/s</th></tr>";
  for (size_t i = 0; i < rows.Size(); ++i)
    for (const std::string& name : rows.At(i).At("placements").Keys()) {
      const Json cost = rows.At(i).At("placements").At(name);
      html += fmt::format(
          "<tr><td>{}</td><td>{}</td><td>{:.3f}</td><td>{:.3f}</td><td>{:.0f}</td><td>{:.1f}</td>"
          "</tr>",
          report::Escaped(name), rows.At(i).At("devices").AsInt(), cost.At("imbalance").AsDouble(),
          cost.At("remote_devices").AsDouble(), cost.At("bytes_per_token").AsDouble(),
          cost.At("tokens_per_s").AsDouble());
    }
  return html + "</table>";
}

std::string Machine(const Json& report) {
  return fmt::format(
      "{} tokens, experts of {}; memory {:.4g} GB/s, disk {:.4g} GB/s, link {:.4g} GB/s",
      report.At("tokens").AsInt(),
      HumanBytes(static_cast<uint64_t>(report.At("expert_bytes").AsInt())),
      report.At("memory_gb_per_s").AsDouble(), report.At("disk_gb_per_s").AsDouble(),
      report.At("link_gb_per_s").AsDouble());
}

}  // namespace

std::vector<int> DefaultCacheSizes(const TraceInfo& info) {
  const int all = info.n_layers * info.n_experts;
  std::vector<int> sizes;
  for (int i = 1; i <= 8; ++i) sizes.push_back(std::max(1, all * i / 8));
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

int CacheSizeFor(const TraceInfo& info, double ram_bytes) {
  const double room = ram_bytes - static_cast<double>(info.other_bytes);
  if (room < 0)
    Throw(ErrorCode::kInvalidArgument, "--ram: expected at least {} (what is no expert), found {}",
          HumanBytes(info.other_bytes), HumanBytes(static_cast<uint64_t>(ram_bytes)));
  const auto expert = static_cast<double>(std::max<uint64_t>(1, info.expert_bytes));
  return static_cast<int>(std::min<double>(room / expert, info.n_layers * info.n_experts));
}

Json MakeReplayReport(const Trace& trace, const ReplayOptions& options) {
  if (TokensOf(trace) < 2)
    Throw(ErrorCode::kInvalidArgument, "replay: expected a trace of at least 2 tokens, found {}",
          TokensOf(trace));
  ReplayOptions chosen = options;
  if (chosen.n_guesses == 0) chosen.n_guesses = trace.info.k;
  Json report = Json::Object();
  report.Set("model", ReplaceInvalidUtf8(trace.info.model)).Set("tokens", TokensOf(trace));
  report.Set("experts", trace.info.n_layers * trace.info.n_experts);
  report.Set("expert_bytes", trace.info.expert_bytes).Set("other_bytes", trace.info.other_bytes);
  report.Set("memory_gb_per_s", chosen.memory_rate / 1e9);
  report.Set("disk_gb_per_s", chosen.disk_rate / 1e9);
  report.Set("link_gb_per_s", chosen.link_rate / 1e9);
  report.Set("guesses", chosen.n_guesses).Set("batch", chosen.batch);
  report.Set("caches", CachesJson(trace, chosen));
  return report.Set("devices", DevicesJson(trace, chosen));
}

std::string ReplayReportText(const Json& report) {
  const Json caches = report.At("caches"), devices = report.At("devices");
  const Cell size = [](const Json& row) { return std::to_string(row.At("experts").AsInt()); };
  const Cell hits = [](const Json& entry) { return Percent(entry.At("hit_rate").AsDouble()); };
  const Cell bytes = [](const Json& entry) {
    return HumanBytes(static_cast<uint64_t>(entry.At("bytes_per_token").AsDouble()));
  };
  const Cell speed = [](const Json& entry) {
    return fmt::format("{:.4g}", entry.At("tokens_per_s").AsDouble());
  };
  const Cell right = [](const Json& entry) {
    return Percent(entry.At("guessed_right").AsDouble());
  };
  std::string text =
      fmt::format("{}: {}\n", Printable(report.At("model").AsString(), 200), Machine(report));
  text += "\nHits in percent, by experts in the cache:\n" +
          Grid(caches, {"experts"}, size, "policies", hits);
  text += "\nLoaded for a token:\n" + Grid(caches, {"experts"}, size, "policies", bytes);
  text += "\nTokens/s at most:\n" + Grid(caches, {"experts"}, size, "policies", speed);
  text += fmt::format("\nLRU with {} experts of a layer loaded ahead; right guesses in percent:\n",
                      report.At("guesses").AsInt()) +
          Grid(caches, {"experts"}, size, "predictors", right);
  text += "\nHits in percent:\n" + Grid(caches, {"experts"}, size, "predictors", hits);
  text += "\nTokens/s at most:\n" + Grid(caches, {"experts"}, size, "predictors", speed);
  if (devices.Size() == 0) return text;
  const Cell count = [](const Json& row) { return std::to_string(row.At("devices").AsInt()); };
  const Cell imbalance = [](const Json& entry) {
    return fmt::format("{:.3f}", entry.At("imbalance").AsDouble());
  };
  text += fmt::format("\nDevices, steps of {} tokens; largest load / mean load:\n",
                      report.At("batch").AsInt()) +
          Grid(devices, {"devices"}, count, "placements", imbalance);
  text += "\nSent for a token, there and back:\n" +
          Grid(devices, {"devices"}, count, "placements", bytes);
  return text + "\nTokens/s at most:\n" + Grid(devices, {"devices"}, count, "placements", speed);
}

std::string ReplayPage(const Json& report) {
  const Json caches = report.At("caches");
  std::string page =
      report::PageHead("Routing replayed", report.At("model").AsString() + ": " + Machine(report));
  const auto section = [&](const std::string& heading, const report::LineChart& chart) {
    page += "<section><h2>" + report::Escaped(heading) + "</h2>" + report::DrawLines(chart) +
            "</section>\n";
  };
  page += "<div class='charts'>";
  section("Hits of a cache", Chart(caches, "policies", "hit_rate", 100, "percent"));
  section("Loaded for a token", Chart(caches, "policies", "bytes_per_token", 1e-6, "MB"));
  section("Speed at most", Chart(caches, "policies", "tokens_per_s", 1, "tokens/s"));
  section("LRU with experts loaded ahead: hits",
          Chart(caches, "predictors", "hit_rate", 100, "percent"));
  section("LRU with experts loaded ahead: bytes for a token",
          Chart(caches, "predictors", "bytes_per_token", 1e-6, "MB"));
  section("LRU with experts loaded ahead: speed at most",
          Chart(caches, "predictors", "tokens_per_s", 1, "tokens/s"));
  page += "</div>";
  if (report.At("devices").Size() > 0)
    page +=
        fmt::format("<section><h2>Experts on several devices, steps of {} tokens</h2>{}</section>",
                    report.At("batch").AsInt(), HtmlTable(report.At("devices")));
  return page + report::PageEnd();
}

}  // namespace mixtral::observatory
