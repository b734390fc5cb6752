// SPDX-License-Identifier: Apache-2.0
// mixtral eval: tasks on a model -> scores, as a table, JSON, and a folder of samples and pages.
#include <filesystem>

#include "base/output_file.h"
#include "base/strings.h"
#include "cli/eval_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "eval/eval_report.h"
#include "eval/resumable_model.h"

namespace mixtral::cli {
namespace {

namespace fs = std::filesystem;

void PrintList() {
  for (const eval::Area& area : eval::Areas()) {
    WriteOut(fmt::format("{} ({})\n", area.id, area.title));
    for (const eval::Task& task : eval::AllTasks()) {
      if (task.area != area.id) continue;
      std::string protocol = fmt::format("{}-shot, {}", task.shots, task.metric);
      if (task.n_answers > 1) protocol += fmt::format(", maj@{}", task.n_answers);
      WriteOut(fmt::format("  {:<18} {:<16} {:<28} {}\n", task.name, task.title, protocol,
                           task.files.empty() ? "" : task.files[0]));
    }
  }
}

std::vector<const eval::Task*> Chosen(const std::string& list) {
  std::vector<std::string> words;
  for (const std::string_view word : Split(list, ','))
    if (!word.empty()) words.emplace_back(word);
  try {
    return eval::ChooseTasks(words);
  } catch (const Error& error) {
    ThrowUsage("--tasks: {}", error.what());
  }
}

void WriteFile(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.Write(std::as_bytes(std::span(text)));
  file.Finish();
}

class EvalCommandRun {
 public:
  explicit EvalCommandRun(EvalFlags flags) : flags_(std::move(flags)) {
    tasks_ = Chosen(flags_.tasks);
    if (tasks_.empty()) ThrowUsage("eval: expected --tasks with a name, found none");
    eval::TaskOptions& options = flags_.measure.task;
    options.limit = flags_.limit;
    if (flags_.n_shots >= 0) options.n_shots = flags_.n_shots;
    if (flags_.n_answers > 0) options.n_answers = flags_.n_answers;
    options.cancel = interrupt_.flag();
    options.data = flags_.data.value_or("");
    for (const eval::Task* task : tasks_)
      if (!task->files.empty() && !flags_.data)
        ThrowUsage("eval: {}: expected --data DIR with its files, found none", task->name);
  }

  int Run() {
    MakeFolder();
    model_ = flags_.source.Open(interrupt_);
    OpenJudge();
    for (const eval::Task* task : tasks_)
      if (!RunOne(*task)) return Stopped();
    const eval::EvalRun run = Summary();
    if (flags_.output) WriteFolder(run);
    WriteOut(flags_.json ? eval::ReportJson(run).Dump(2) + "\n" : eval::MarkdownReport(run));
    return failures_.empty() ? kExitOk : kExitBadInput;
  }

 private:
  void MakeFolder() const {
    if (!flags_.output) return;
    std::error_code error;
    fs::create_directories(*flags_.output, error);
    if (!error && !fs::is_directory(*flags_.output, error) && !error)
      error = std::make_error_code(std::errc::not_a_directory);
    if (error)
      Throw(ErrorCode::kIo, "--output: cannot make the folder {}: {}", *flags_.output,
            error.message());
  }

  void OpenJudge() {
    if (!flags_.has_judge()) return;
    const bool is_self = flags_.judge == "self";
    if (!is_self) judge_ = flags_.JudgeSource().Open(interrupt_);
    flags_.measure.judge = is_self ? model_.get() : judge_.get();
  }

  eval::EvalRun Summary() const {
    return {.model = model_->name(),
            .fingerprint = model_->fingerprint(),
            .data = flags_.data.value_or("none"),
            .limit = flags_.limit,
            .results = results_};
  }

  /// False: interrupted. A task that cannot be run is reported and the others go on.
  bool RunOne(const eval::Task& task) {
    if (const std::string missing = eval::MissingFor(task, flags_.measure); !missing.empty()) {
      Note("{}: left out: {}", task.name, missing);
      return true;
    }
    Progress progress(std::string(task.name), "samples");
    flags_.measure.task.on_progress = [&](int64_t done, int64_t total) {
      if (!flags_.quiet) progress.Update(done, total);
    };
    try {
      eval::SampleLog log = LogOf(task);
      const bool is_measure = task.kind == eval::TaskKind::kMeasure;
      std::optional<eval::TaskResult> result =
          is_measure ? Measure(task, &log)
                     : eval::RunTask(*model_, task, flags_.measure.task, &log);
      if (!result) return false;
      results_.push_back(std::move(*result));
    } catch (const Error& error) {
      // A file that is not there is no reason to lose the other tasks of a list.
      if (error.code() != ErrorCode::kNotFound || tasks_.size() == 1) throw;
      progress.Clear();
      Note("{}: left out: {}", task.name, error.what());
      failures_.emplace_back(task.name);
    }
    return true;
  }

  /// With --output every answer is kept, and not asked for again.
  std::optional<eval::TaskResult> Measure(const eval::Task& task, eval::SampleLog* log) {
    if (!flags_.output) return eval::RunMeasure(*model_, task, flags_.measure, log);
    eval::AnswerFile answers(*flags_.output + "/answers_" + std::string(task.name) + ".jsonl",
                             eval::TaskSettings(task, flags_.measure.task, *model_));
    eval::ResumableModel model(model_.get(), &answers,
                               {.cancel = interrupt_.flag(), .on_progress = {}});
    return eval::RunMeasure(model, task, flags_.measure, log);
  }

  eval::SampleLog LogOf(const eval::Task& task) const {
    if (!flags_.output) return {};
    const std::string path = *flags_.output + "/samples_" + std::string(task.name) + ".jsonl";
    // A measurement's answers are in a file of their own; its samples are made of them anew.
    std::error_code ignored;
    if (task.kind == eval::TaskKind::kMeasure) fs::remove(path, ignored);
    return {path, eval::TaskSettings(task, flags_.measure.task, *model_)};
  }

  int Stopped() const {
    if (flags_.output) Note("stopped; run the same command again to go on");
    return kExitInterrupted;
  }

  void WriteFolder(const eval::EvalRun& run) const {
    const std::string folder = *flags_.output + "/";
    const eval::ResultPage page = eval::MakeResultPage(run);
    WriteFile(folder + "results.json", eval::ReportJson(run).Dump(2) + "\n");
    WriteFile(folder + "results.md", eval::MarkdownReport(run));
    WriteFile(folder + "report.html", eval::DrawResultPage(page));
    if (!page.passkey.IsNull())
      WriteFile(folder + "passkey.svg", eval::DrawPasskeyMap(page.passkey));
    if (!flags_.quiet) Note("results are in {}", *flags_.output);
  }

  EvalFlags flags_;
  InterruptScope interrupt_;
  std::vector<const eval::Task*> tasks_;
  std::unique_ptr<eval::LanguageModel> model_, judge_;
  std::vector<eval::TaskResult> results_;
  std::vector<std::string> failures_;
};

}  // namespace

int EvalCommand(Arguments arguments) {
  EvalFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  if (flags.list) {
    PrintList();
    return kExitOk;
  }
  return EvalCommandRun(std::move(flags)).Run();
}

}  // namespace mixtral::cli
