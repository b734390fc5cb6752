// SPDX-License-Identifier: Apache-2.0
// Every variant sees the same windows, so differences of losses are paired: their error is that of
// the mean difference of a window, weighted by its tokens, not of two perplexities.
#include "observatory/ablation.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "report/page.h"
#include "report/svg_chart.h"
#include "report/text_table.h"

namespace mixtral::observatory {
namespace {

using Clock = std::chrono::steady_clock;

struct Losses {
  std::vector<double> sums;  // [windows] nats
  double Mean(std::span<const Window> windows) const {
    double sum = 0, n = 0;
    for (size_t i = 0; i < sums.size(); ++i) {
      sum += sums[i];
      n += static_cast<double>(windows[i].tokens.size() - 1);
    }
    return sum / n;
  }
};

/// Standard error of the mean of a ratio: sum of values over sum of tokens, windows as units.
double ErrorOfMean(const std::vector<double>& values, std::span<const Window> windows) {
  const auto n = static_cast<double>(values.size());
  if (n < 2) return 0;
  double sum = 0, tokens = 0, squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += values[i];
    tokens += static_cast<double>(windows[i].tokens.size() - 1);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const double rest =
        values[i] - sum / tokens * static_cast<double>(windows[i].tokens.size() - 1);
    squares += rest * rest;
  }
  return std::sqrt(squares * n / (n - 1)) / tokens;
}

class Ablation {
 public:
  Ablation(Engine* engine, DType kv_type, int64_t window_length, std::span<const Window> windows,
           const AblationOptions& options)
      : engine_(engine),
        kv_type_(kv_type),
        run_(engine, kv_type, window_length),
        windows_(windows),
        options_(options) {}

  std::optional<Json> Make() {
    const ModelConfig& config = engine_->config();
    const int max_k = std::min(options_.max_k, config.n_experts);
    n_total_ = static_cast<int64_t>(windows_.size()) * (1 + config.n_experts + max_k);
    const auto base = Measure({});
    if (!base) return std::nullopt;
    Json experts = Json::Array(), ks = Json::Array();
    for (int e = 0; e < config.n_experts; ++e) {
      RoutingPolicy policy;
      policy.ban = {e};
      if (config.n_experts - 1 < config.experts_per_token) policy.k = config.n_experts - 1;
      const auto losses = Measure(policy);
      if (!losses) return std::nullopt;
      experts.Push(Row(*losses, *base).Set("expert", e));
    }
    for (int k = 1; k <= max_k; ++k) {
      RoutingPolicy policy;
      policy.k = k;
      const auto losses = Measure(policy);
      if (!losses) return std::nullopt;
      ks.Push(Row(*losses, *base).Set("k", k).Set("decode_tokens_per_s", DecodeRate(k)));
    }
    int64_t n_tokens = 0;
    for (const Window& window : windows_) n_tokens += std::ssize(window.tokens) - 1;
    const double loss = base->Mean(windows_);
    return Json::Object()
        .Set("model", ReplaceInvalidUtf8(engine_->checkpoint().path()))
        .Set("windows", static_cast<uint64_t>(windows_.size()))
        .Set("tokens", n_tokens)
        .Set("experts_per_token", config.experts_per_token)
        .Set("perplexity", std::exp(loss))
        .Set("perplexity_error", std::exp(loss) * ErrorOfMean(base->sums, windows_))
        .Set("without_expert", std::move(experts))
        .Set("top_k", std::move(ks));
  }

 private:
  std::optional<Losses> Measure(const RoutingPolicy& policy) {
    const ModelConfig& config = engine_->config();
    policy.Validate(config.n_experts, config.experts_per_token,
                    engine_->transformer().options().max_k);
    Losses losses;
    for (const Window& window : windows_) {
      if (options_.cancelled != nullptr && options_.cancelled->load()) return std::nullopt;
      losses.sums.push_back(run_.Loss(window, &policy));
      if (options_.on_progress) options_.on_progress(++n_done_, n_total_);
    }
    return losses;
  }

  Json Row(const Losses& losses, const Losses& base) const {
    std::vector<double> differences;
    for (size_t i = 0; i < base.sums.size(); ++i)
      differences.push_back(losses.sums[i] - base.sums[i]);
    const double loss = losses.Mean(windows_), before = base.Mean(windows_);
    Json row = Json::Object();
    row.Set("perplexity", std::exp(loss)).Set("loss_difference", loss - before);
    return row.Set("loss_difference_error", ErrorOfMean(differences, windows_));
  }

  /// Median of some greedy decodes from the beginning of the first window.
  double DecodeRate(int k) const {
    std::vector<double> rates;
    Session session(engine_, {.context = 0, .kv_dtype = kv_type_});
    const std::vector<TokenId>& tokens = windows_.front().tokens;
    const size_t n = std::min<size_t>(tokens.size(), 16);
    GenerateOptions generate;
    generate.max_tokens = options_.decode_tokens;
    generate.ignore_eos = true;
    generate.sampler.temperature = 0;
    generate.policy.k = k;
    for (int i = 0; i < options_.timing_runs; ++i) {
      session.Reset();
      const GenerateResult result = session.Generate(
          {tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(n)}, generate, {});
      if (result.decode_seconds > 0)
        rates.push_back(static_cast<double>(result.decode_steps) / result.decode_seconds);
    }
    if (rates.empty()) return 0;
    std::nth_element(rates.begin(), rates.begin() + static_cast<ptrdiff_t>(rates.size() / 2),
                     rates.end());
    return rates[rates.size() / 2];
  }

  Engine* engine_;
  DType kv_type_;
  TextRun run_;
  std::span<const Window> windows_;
  const AblationOptions& options_;
  int64_t n_done_ = 0, n_total_ = 0;
};

std::string Difference(const Json& row) {
  return fmt::format("{:+.4f} +-{:.4f}", row.At("loss_difference").AsDouble(),
                     row.At("loss_difference_error").AsDouble());
}

std::vector<std::vector<std::string>> ExpertRows(const Json& report) {
  std::vector<std::vector<std::string>> rows = {{"without", "perplexity", "loss, nats"}};
  const Json experts = report.At("without_expert");
  for (size_t i = 0; i < experts.Size(); ++i)
    rows.push_back({fmt::format("expert {}", experts.At(i).At("expert").AsInt()),
                    fmt::format("{:.3f}", experts.At(i).At("perplexity").AsDouble()),
                    Difference(experts.At(i))});
  return rows;
}

std::vector<std::vector<std::string>> TopKRows(const Json& report) {
  std::vector<std::vector<std::string>> rows = {
      {"per token", "perplexity", "loss, nats", "decode, tokens/s"}};
  const Json ks = report.At("top_k");
  for (size_t i = 0; i < ks.Size(); ++i)
    rows.push_back({fmt::format("{}{}", ks.At(i).At("k").AsInt(),
                                ks.At(i).At("k").AsInt() == report.At("experts_per_token").AsInt()
                                    ? " (the model's)"
                                    : ""),
                    fmt::format("{:.3f}", ks.At(i).At("perplexity").AsDouble()),
                    Difference(ks.At(i)),
                    fmt::format("{:.1f}", ks.At(i).At("decode_tokens_per_s").AsDouble())});
  return rows;
}

std::string HtmlTable(const std::vector<std::vector<std::string>>& rows) {
  std::string html = "<table>";
  for (size_t i = 0; i < rows.size(); ++i) {
    html += "<tr>";
    for (const std::string& cell : rows[i])
      html += fmt::format("<{0}>{1}</{0}>", i == 0 ? "th" : "td", report::Escaped(cell));
    html += "</tr>";
  }
  return html + "</table>";
}

std::string Heading(const Json& report) {
  return fmt::format("{}: perplexity {:.3f} +-{:.3f} on {} tokens in {} windows",
                     report.At("model").AsString(), report.At("perplexity").AsDouble(),
                     report.At("perplexity_error").AsDouble(), report.At("tokens").AsInt(),
                     report.At("windows").AsInt());
}

}  // namespace

std::optional<Json> MakeAblationReport(Engine* engine, DType kv_type, int64_t window_length,
                                       std::span<const Window> windows,
                                       const AblationOptions& options) {
  if (engine->config().n_experts < 2)
    Throw(ErrorCode::kUnsupported,
          "ablate: expected a model with experts, found a dense one, in {}",
          engine->checkpoint().path());
  return Ablation(engine, kv_type, window_length, windows, options).Make();
}

std::string AblationReportText(const Json& report) {
  return Printable(Heading(report), 1000) + "\n\n" + report::TextTable(ExpertRows(report)) + "\n" +
         report::TextTable(TopKRows(report));
}

std::string AblationPage(const Json& report) {
  std::string page = report::PageHead("Experts taken away", Heading(report));
  report::Series quality = {.name = "perplexity", .points = {}, .has_marks = true};
  report::Series speed = {.name = "decode, tokens/s", .points = {}, .has_marks = true};
  report::Series curve = {.name = "", .points = {}, .has_marks = true};
  report::Series without = {
      .name = "loss in nats above the whole model's", .points = {}, .has_marks = true};
  const Json ks = report.At("top_k"), experts = report.At("without_expert");
  for (size_t i = 0; i < ks.Size(); ++i) {
    const auto k = static_cast<double>(ks.At(i).At("k").AsInt());
    const double rate = ks.At(i).At("decode_tokens_per_s").AsDouble();
    quality.points.push_back({k, ks.At(i).At("perplexity").AsDouble()});
    speed.points.push_back({k, rate});
    curve.points.push_back({rate, ks.At(i).At("perplexity").AsDouble()});
  }
  std::sort(curve.points.begin(), curve.points.end(),
            [](const report::Point& a, const report::Point& b) { return a.x < b.x; });
  for (size_t i = 0; i < experts.Size(); ++i)
    without.points.push_back(
        {static_cast<double>(i), experts.At(i).At("loss_difference").AsDouble()});
  const auto chart = [&](const char* heading, const report::Series& series, const char* y,
                         const char* x) {
    page += fmt::format("<section><h2>{}</h2>{}</section>\n", heading,
                        report::DrawLines({.y_label = y, .series = {series}, .x_label = x}));
  };
  page += "<div class='charts'>";
  chart("Quality against speed", curve, "perplexity", "decode, tokens/s");
  chart("Perplexity with 1 to 8 experts a token", quality, "perplexity", "experts per token");
  chart("Speed", speed, "tokens/s", "experts per token");
  chart("Loss without each expert", without, "nats", "expert");
  page += "</div><section><h2>Experts per token</h2>" + HtmlTable(TopKRows(report)) +
          "</section><section><h2>Without an expert</h2>" + HtmlTable(ExpertRows(report)) +
          "</section>";
  return page + report::PageEnd();
}

}  // namespace mixtral::observatory
