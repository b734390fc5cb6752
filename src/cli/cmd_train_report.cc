// SPDX-License-Identifier: Apache-2.0
// `mixtral train-report`: a run's metrics.jsonl as one HTML file.
#include <filesystem>

#include "base/mapped_file.h"
#include "cli/command_line.h"
#include "cli/output.h"
#include "report/run_page.h"

namespace mixtral::cli {

int TrainReportCommand(Arguments arguments) {
  std::string run;
  std::optional<std::string> out, title;
  CommandLine line("train-report",
                   "Draws a training run as one HTML file without scripts: loss, held-out loss by "
                   "domain, learning rate, gradient norm, speed, and the load of the experts over "
                   "time. Reads metrics.jsonl; a run that still goes on is fine.",
                   "  mixtral train-report runs/a -o report.html\n"
                   "  mixtral train-report runs/a/metrics.jsonl -o report.html --title 'Run A'\n");
  line.WithoutSettings();
  line.Required("RUN", &run, "The run's folder, or its metrics.jsonl");
  line.Text("-o,--out", &out, "FILE", "The page (default: report.html in the run's folder)");
  line.Text("--title", &title, "TEXT", "The page's title (default: the run's name)");
  if (!line.Parse(arguments)) return kExitOk;
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(run, ignored);
  const std::filesystem::path metrics = is_folder ? run + "/metrics.jsonl" : run;
  const report::RunMetrics read =
      report::ParseMetrics(ReadTextFile(metrics.string()), metrics.string());
  const std::filesystem::path folder =
      std::filesystem::absolute(metrics).lexically_normal().parent_path();
  const std::string page = report::RunPage(read, title.value_or(folder.filename().string()));
  const std::string path = out.value_or((folder / "report.html").string());
  WriteFileAtomically(path, std::as_bytes(std::span(page)));
  WriteOut(fmt::format("{}: {} steps, {} evaluations\n", path, read.steps.size(),
                       read.evaluations.size()));
  return kExitOk;
}

}  // namespace mixtral::cli
