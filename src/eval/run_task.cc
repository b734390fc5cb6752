// SPDX-License-Identifier: Apache-2.0
#include "eval/run_task.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "eval/answers.h"
#include "eval/measures.h"

namespace mixtral::eval {
namespace {

/// Samples that a model is asked at once: enough to fill its batches, few enough that an
/// interruption loses little.
constexpr size_t kSamplesAtOnce = 64;

bool IsSet(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load(std::memory_order_relaxed);
}

int Shots(const Task& task, const TaskOptions& options) {
  return options.n_shots.value_or(task.shots);
}
int Answers(const Task& task, const TaskOptions& options) {
  return task.vote == nullptr ? 1 : options.n_answers.value_or(task.n_answers);
}

Json Sample(const Item& item, const std::map<std::string, double>& scores) {
  Json metrics = Json::Object();
  for (const auto& [name, value] : scores) metrics.Set(name, value);
  Json sample = Json::Object();
  if (!item.group.empty()) sample.Set("group", item.group);
  sample.Set("metrics", metrics);
  return sample;
}

/// One run over the items that the log does not have.
class Runner {
 public:
  Runner(LanguageModel& model, const Task& task, const TaskOptions& options, SampleLog* log)
      : model_(model), task_(task), options_(options), log_(log) {
    items_ = ReadItems(task, options.data, options.limit);
    if (Shots(task, options) > 0) examples_ = ReadExamples(task, options.data);
    for (size_t i = 0; i < items_.size(); ++i)
      if (!log->Has(items_[i].row)) left_.push_back(i);
    n_done_ = std::ssize(items_) - std::ssize(left_);
  }

  /// False: cancelled.
  bool Run() {
    Report();
    for (size_t begin = 0; begin < left_.size(); begin += kSamplesAtOnce) {
      const auto some =
          std::span(left_).subspan(begin, std::min(kSamplesAtOnce, left_.size() - begin));
      task_.kind == TaskKind::kChoice ? Choose(some) : Generate(some);
      log_->Flush();
      if (IsSet(options_.cancel)) return false;  // the model gave a part of the answers
    }
    return true;
  }
  const std::vector<Item>& items() const { return items_; }

 private:
  void Report() const {
    if (options_.on_progress) options_.on_progress(n_done_, std::ssize(items_));
  }
  std::string Before(const Item& item) const {
    return BeforePrompt(task_, item, examples_, Shots(task_, options_));
  }
  void Done(size_t index, const Json& sample) {
    log_->Add(items_[index].row, sample);
    ++n_done_;
    Report();
  }
  void Choose(std::span<const size_t> some);
  void Generate(std::span<const size_t> some);

  LanguageModel& model_;
  const Task& task_;
  const TaskOptions& options_;
  SampleLog* log_;
  std::vector<Item> items_, examples_;
  std::vector<size_t> left_;
  int64_t n_done_ = 0;
};

void Runner::Choose(std::span<const size_t> some) {
  struct Place {
    size_t index, choice;
  };
  std::vector<ContinuationRequest> requests;
  std::vector<Place> places;
  std::map<size_t, std::vector<double>> logprobs;
  std::map<size_t, size_t> n_left;
  for (const size_t index : some) {
    const Item& item = items_[index];
    const std::string before = Before(item);
    for (size_t c = 0; c < item.continuations.size(); ++c) {
      requests.push_back(
          {.context = before + (item.contexts.empty() ? item.prompt : item.contexts[c]),
           .continuation = item.continuations[c]});
      places.push_back({index, c});
    }
    logprobs[index].resize(item.continuations.size());
    n_left[index] = item.continuations.size();
  }
  model_.Score(requests, [&](size_t request, const Likelihood& likelihood) {
    const auto [index, choice] = places[request];
    logprobs[index][choice] = likelihood.logprob;
    if (--n_left[index] > 0) return;
    const Item& item = items_[index];
    Json sums = Json::Array();
    for (const double sum : logprobs[index]) sums.Push(sum);
    Json sample = Sample(item, ChoiceScores(item, logprobs[index]));
    sample.Set("prompt", item.prompt)
        .Set("logprobs", sums)
        .Set("right", static_cast<int64_t>(item.right));
    Done(index, sample);
  });
}

void Runner::Generate(std::span<const size_t> some) {
  std::vector<GenerationRequest> requests;
  const int n_answers = Answers(task_, options_);
  for (const size_t index : some) {
    GenerationRequest& request = requests.emplace_back();
    request.prompt = Before(items_[index]) + items_[index].prompt;
    request.stop.assign(task_.stop.begin(), task_.stop.end());
    request.max_tokens = task_.max_tokens;
    request.n = n_answers;
    request.temperature = n_answers > 1 ? task_.temperature : 0;
    request.seed = static_cast<uint64_t>(items_[index].row) * 1000;
  }
  FitAnswers(model_, &requests);
  model_.Generate(requests, [&](size_t request, const GeneratedAnswers& generated) {
    const size_t index = some[request];
    const Item& item = items_[index];
    std::string answer = generated.texts.at(0);
    if (n_answers > 1) {
      std::vector<std::string> votes;
      for (const std::string& text : generated.texts) votes.push_back(task_.vote(text));
      answer = Majority(votes);
    }
    Json texts = Json::Array();
    for (const std::string& text : generated.texts) texts.Push(text);
    Json expected = Json::Array();
    for (const std::string& text : item.answers) expected.Push(text);
    Json sample = Sample(item, task_.judge(answer, item));
    sample.Set("prompt", item.prompt)
        .Set("answers", texts)
        .Set("answer", answer)
        .Set("expected", expected);
    Done(index, sample);
  });
}

/// Of these items' samples: an earlier run may have had a higher limit.
TaskResult Summary(const Task& task, const SampleLog& log, const std::vector<Item>& items) {
  std::map<std::string, std::map<std::string, std::vector<double>>> by_metric;  // and group
  for (const Item& item : items) {
    const Json metrics = log.samples().at(item.row).At("metrics");
    for (const std::string& name : metrics.Keys())
      by_metric[name][item.group].push_back(metrics.At(name).AsDouble());
  }
  TaskResult result;
  result.task = task.name;
  result.n = std::ssize(items);
  for (const auto& [name, by_group] : by_metric) {
    std::vector<std::vector<double>> groups;
    for (const auto& [group, values] : by_group) {
      groups.push_back(values);
      if (!group.empty()) result.groups[group][name] = MeanOf(values);
    }
    result.metrics[name] = PooledMean(groups);
  }
  return result;
}

Json ToJson(const std::map<std::string, MeanError>& metrics) {
  Json json = Json::Object();
  for (const auto& [name, value] : metrics)
    json.Set(name, value.mean).Set(name + "_stderr", value.error);
  return json;
}

}  // namespace

MeanError MeanOf(std::span<const double> values) {
  MeanError result{.n = std::ssize(values)};
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) result.error = std::sqrt(squares / (n - 1) / n);
  return result;
}

MeanError PooledMean(std::span<const std::vector<double>> groups) {
  std::vector<double> all;
  double squares = 0;
  bool is_poolable = true;
  for (const std::vector<double>& values : groups) {
    const double mean = MeanOf(values).mean;
    for (const double value : values) squares += (value - mean) * (value - mean);
    all.insert(all.end(), values.begin(), values.end());
    is_poolable = is_poolable && values.size() > 1;
  }
  MeanError result = MeanOf(all);
  const auto n = static_cast<double>(all.size());
  if (is_poolable && result.n > 0)
    result.error = std::sqrt(squares / (n - static_cast<double>(groups.size())) / n);
  return result;
}

Json TaskResult::ToJson() const {
  Json json = Json::Object();
  json.Set("task", task).Set("n", n).Set("n_shots", n_shots).Set("n_answers", n_answers);
  json.Set("metrics", eval::ToJson(metrics)).Set("seconds", seconds);
  if (!groups.empty()) {
    Json by_group = Json::Object();
    for (const auto& [name, values] : groups) by_group.Set(name, eval::ToJson(values));
    json.Set("groups", by_group);
  }
  if (!detail.IsNull()) json.Set("detail", detail);
  return json;
}

std::map<std::string, double> ChoiceScores(const Item& item, std::span<const double> logprobs) {
  std::vector<double> per_byte;
  for (size_t i = 0; i < logprobs.size(); ++i) {
    const std::string& text = item.continuations[i];
    const size_t n_bytes = text.size() - (text.starts_with(' ') ? 1 : 0);
    per_byte.push_back(logprobs[i] / static_cast<double>(std::max<size_t>(n_bytes, 1)));
  }
  const auto is_right = [&](std::span<const double> values) {
    const auto best = std::max_element(values.begin(), values.end()) - values.begin();
    return static_cast<size_t>(best) == item.right ? 1.0 : 0.0;
  };
  return {{"acc", is_right(logprobs)}, {"acc_norm", is_right(per_byte)}};
}

Json TaskSettings(const Task& task, const TaskOptions& options, const LanguageModel& model) {
  Json settings = Json::Object();
  settings.Set("task", task.name)
      .Set("model", model.name())
      .Set("fingerprint", model.fingerprint())
      .Set("n_shots", Shots(task, options))
      .Set("n_answers", Answers(task, options));
  return settings;
}

std::optional<TaskResult> RunTask(LanguageModel& model, const Task& task,
                                  const TaskOptions& options, SampleLog* log) {
  const auto begin = std::chrono::steady_clock::now();
  Runner runner(model, task, options, log);
  if (!runner.Run()) return std::nullopt;
  TaskResult result = Summary(task, *log, runner.items());
  result.n_shots = Shots(task, options);
  result.n_answers = Answers(task, options);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace mixtral::eval
