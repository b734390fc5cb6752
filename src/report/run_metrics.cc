// SPDX-License-Identifier: Apache-2.0
// A run may have been killed while it wrote a line, so the last one may be torn.
#include "report/run_metrics.h"

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

namespace mixtral::report {
namespace {

std::optional<double> Number(const Json& line, std::string_view key) {
  const auto value = line.Find(key);
  return value ? std::optional(value->AsDouble()) : std::nullopt;
}

StepMetrics ParseStep(const Json& line) {
  StepMetrics metrics;
  metrics.step = line.At("step").AsInt(0);
  metrics.loss = line.At("loss").AsDouble();
  if (const auto tokens = line.Find("tokens")) metrics.tokens = tokens->AsInt(0);
  metrics.learning_rate = Number(line, "lr");
  metrics.grad_norm = Number(line, "grad_norm");
  metrics.tokens_per_second = Number(line, "tokens_per_second");
  metrics.mfu = Number(line, "mfu");
  metrics.balance = Number(line, "balance");
  metrics.margin = Number(line, "margin");
  metrics.accuracy = Number(line, "accuracy");
  if (const auto load = line.Find("load"))
    for (size_t layer = 0; layer < load->Size(); ++layer) {
      const Json row = load->At(layer);
      metrics.load.emplace_back();
      for (size_t e = 0; e < row.Size(); ++e) metrics.load.back().push_back(row.At(e).AsDouble());
    }
  if (const auto alarms = line.Find("alarms"))
    for (size_t i = 0; i < alarms->Size(); ++i) metrics.alarms.push_back(alarms->At(i).AsString());
  return metrics;
}

Evaluation ParseEvaluation(int64_t step, const Json& heldout) {
  Evaluation evaluation = {.step = step, .domains = {}};
  for (const std::string& domain : heldout.Keys()) {
    const Json json = heldout.At(domain);
    evaluation.domains[domain] = {json.At("loss").AsDouble(), Number(json, "margin"),
                                  Number(json, "accuracy")};
  }
  return evaluation;
}

void AddLine(const Json& line, RunMetrics* metrics) {
  if (const auto heldout = line.Find("heldout"))
    metrics->evaluations.push_back(ParseEvaluation(line.At("step").AsInt(0), *heldout));
  if (line.Find("loss")) metrics->steps.push_back(ParseStep(line));
}

}  // namespace

RunMetrics ParseMetrics(std::string_view text, std::string_view where) {
  RunMetrics metrics;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // a line that is being written
    ++number;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (!line.empty()) AddLine(Json::Parse(line, fmt::format("{}:{}", where, number)), &metrics);
  }
  if (metrics.steps.empty())
    Throw(ErrorCode::kCorrupt, "metrics: expected lines with step and loss, found none, in {}",
          where);
  for (const StepMetrics& step : metrics.steps)
    if (step.load.size() != metrics.steps[0].load.size())
      Throw(ErrorCode::kCorrupt,
            "metrics: expected the load of {} layers in step {}, found {}, in {}",
            metrics.steps[0].load.size(), step.step, step.load.size(), where);
  return metrics;
}

}  // namespace mixtral::report
