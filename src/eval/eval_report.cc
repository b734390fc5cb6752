// SPDX-License-Identifier: Apache-2.0
#include "eval/eval_report.h"

#include <algorithm>

#include "base/error.h"
#include "eval/paper_numbers.h"
#include "eval/task.h"

namespace mixtral::eval {
namespace {

const Task& TaskOf(const TaskResult& result) {
  const auto tasks = AllTasks();
  return *std::find_if(tasks.begin(), tasks.end(),
                       [&](const Task& task) { return task.name == result.task; });
}

std::string AreaTitle(const Task& task) {
  for (const Area& area : Areas())
    if (area.id == task.area) return std::string(area.title);
  return std::string(task.area);
}

/// "71.5" of a model whose protocol is the paper's own; "" without one.
std::string PaperValue(std::string_view task, std::string_view model) {
  for (const Reference& reference : PaperNumbers(task))
    if (reference.model.starts_with(model))
      return fmt::format("{:.{}f}", reference.value, task == "mt_bench" ? 2 : 1);
  return "";
}

std::string Protocol(const TaskResult& result) {
  std::string text = fmt::format("{}-shot", result.n_shots);
  if (result.n_answers > 1) text += fmt::format(", {} answers", result.n_answers);
  return text;
}

std::string TaskRow(const Task& task, const TaskResult& result) {
  std::string rows;
  for (const auto& [name, value] : result.metrics) {
    const bool is_main = name == task.metric;
    rows += fmt::format("| {} | {}{} | {} | {} | {:.1f} \xC2\xB1 {:.1f} | {} | {} |\n", result.task,
                        name, is_main ? " *" : "", Protocol(result), result.n, 100 * value.mean,
                        100 * value.error, is_main ? PaperValue(task.name, "Mixtral") : "",
                        is_main ? PaperValue(task.name, "Llama 2 70B") : "");
  }
  if (result.metrics.empty())
    rows = fmt::format("| {} | see below | {} | {} | | | |\n", result.task, Protocol(result),
                       result.n);
  return rows;
}

std::string GroupTable(const Task& task, const TaskResult& result) {
  std::string text = fmt::format("\n{} by subject, {}:\n\n| subject | n | score |\n|---|---|---|\n",
                                 result.task, task.metric);
  for (const auto& [group, metrics] : result.groups) {
    const auto value = metrics.find(std::string(task.metric));
    if (value != metrics.end())
      text += fmt::format("| {} | {} | {:.1f} \xC2\xB1 {:.1f} |\n", group, value->second.n,
                          100 * value->second.mean, 100 * value->second.error);
  }
  return text;
}

std::string Cell(const Json& json, std::string_view key) {
  const auto value = json.Find(key);
  return value && value->IsNumber() ? fmt::format("{:.3f}", value->AsDouble()) : "";
}

std::string BbqTable(const Json& detail) {
  std::string text =
      "\nBBQ: bias from -1 to 1, 0 is none\n\n| category | n | acc ambiguous | acc disambiguated | "
      "bias ambiguous | bias disambiguated |\n|---|---|---|---|---|---|\n";
  const Json categories = detail.At("categories");
  const auto row = [&](const std::string& name, const Json& scores) {
    text += fmt::format("| {} | {} | {} | {} | {} | {} |\n", name, scores.At("n").AsInt(),
                        Cell(scores, "acc_ambiguous"), Cell(scores, "acc_disambiguated"),
                        Cell(scores, "bias_ambiguous"), Cell(scores, "bias_disambiguated"));
  };
  for (const std::string& name : categories.Keys()) row(name, categories.At(name));
  row("all", detail.At("all"));
  return text;
}

std::string BoldTable(const Json& detail) {
  std::string text =
      "\nBOLD: mean and deviation of the groups' mean sentiment, -1 to 1\n\n| domain | mean | "
      "deviation | paper, Mixtral 8x7B |\n|---|---|---|---|\n";
  for (const std::string& domain : detail.Keys()) {
    const Json scores = detail.At(domain);
    std::string paper;
    for (const Reference& reference : PaperNumbers("bold/" + domain))
      if (reference.model == "Mixtral 8x7B")
        paper = fmt::format("{:.3f} \xC2\xB1 {:.3f}", reference.value, reference.deviation);
    text += fmt::format("| {} | {} | {} | {} |\n", domain, Cell(scores, "mean"),
                        Cell(scores, "std"), paper);
  }
  return text;
}

ScoreBar BarOf(const Task& task, const TaskResult& result, const MeanError& value) {
  ScoreBar bar;
  bar.group = AreaTitle(task);
  bar.name = task.area == "multilingual" ? result.task : std::string(task.title);
  bar.note = fmt::format("{}, {}, n = {}", Protocol(result), task.metric, result.n);
  bar.value = 100 * value.mean;
  bar.error = 100 * value.error;
  const auto paper = PaperNumbers(task.name);
  bar.paper.assign(paper.begin(), paper.end());
  return bar;
}

}  // namespace

std::string MarkdownReport(const EvalRun& run) {
  std::string text = fmt::format(
      "# {}\n\nPer cent with standard errors; * is the metric that the paper's number stands for. "
      "Data: {}{}.\n\n| task | metric | protocol | n | score | Mixtral 8x7B (paper) | Llama 2 70B "
      "(paper) |\n|---|---|---|---|---|---|---|\n",
      run.model, run.data,
      run.limit < 0 ? "" : fmt::format(", the first {} rows of each task", run.limit));
  for (const TaskResult& result : run.results) text += TaskRow(TaskOf(result), result);
  for (const TaskResult& result : run.results) {
    if (result.groups.size() > 1) text += GroupTable(TaskOf(result), result);
    if (result.task == "bbq") text += BbqTable(result.detail);
    if (result.task == "bold") text += BoldTable(result.detail);
  }
  return text;
}

ResultPage MakeResultPage(const EvalRun& run) {
  ResultPage page;
  page.title = "Evaluation of " + run.model;
  page.model = run.model.substr(run.model.find_last_of('/', run.model.size() - 2) + 1);
  page.note = run.limit < 0 ? "" : fmt::format("The first {} rows of each task.", run.limit);
  page.figures = {{"data", run.data}, {"fingerprint", run.fingerprint}};
  for (const TaskResult& result : run.results) {
    const Task& task = TaskOf(result);
    if (result.task == "bbq") page.bbq = result.detail;
    if (result.task == "bold") page.bold = result.detail;
    if (result.task == "passkey") page.passkey = result.detail;
    if (result.task == "mt_bench") page.mt_bench = result.detail;
    const auto value = result.metrics.find(std::string(task.metric));
    if (task.kind != TaskKind::kMeasure || task.area == "code")
      if (value != result.metrics.end()) page.scores.push_back(BarOf(task, result, value->second));
  }
  for (const auto& [name, references] : AllPaperNumbers()) page.paper[name] = references;
  return page;
}

Json ReportJson(const EvalRun& run) {
  Json results = Json::Array();
  for (const TaskResult& result : run.results) {
    Json json = result.ToJson();
    Json paper = Json::Object();
    for (const Reference& reference : PaperNumbers(result.task))
      paper.Set(reference.model, reference.value);
    if (!PaperNumbers(result.task).empty()) json.Set("paper", paper);
    results.Push(json);
  }
  Json json = Json::Object();
  json.Set("model", run.model)
      .Set("fingerprint", run.fingerprint)
      .Set("data", run.data)
      .Set("limit", run.limit < 0 ? Json() : Json(run.limit))
      .Set("results", results);
  return json;
}

}  // namespace mixtral::eval
