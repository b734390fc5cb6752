// SPDX-License-Identifier: Apache-2.0
// mixtral verify: is a model whole, are its weights numbers, do this machine's kernels compute what
// they should. Prints check by check, as they end.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "base/thread_pool.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/verify_checksums.h"
#include "cli/verify_weights.h"
#include "io/checkpoint.h"
#include "kernels/self_check.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral verify model.gguf\n"
    "  mixtral verify mixtral-8x7b/ --json | python3 -m json.tool";

constexpr size_t kMaxListed = 20;  // lines of one check

/// What one check found. Problems make `verify` fail, notes do not.
struct Outcome {
  std::string name, summary;
  std::vector<std::string> problems, notes;
  Json figures = Json::Object();
};

void PrintOutcome(const Outcome& outcome) {
  const bool is_right = outcome.problems.empty();
  std::string text =
      fmt::format("{:<11} {}: {}\n", outcome.name,
                  is_right ? "ok" : Coloured(Stream::kOut, Colour::kRed, "WRONG"), outcome.summary);
  const auto list = [&](const std::vector<std::string>& lines, std::string_view head) {
    for (size_t i = 0; i < std::min(lines.size(), kMaxListed); ++i)
      text += fmt::format("            {}{}\n", head, lines[i]);
    if (lines.size() > kMaxListed)
      text +=
          fmt::format("            and {} more (--json lists all)\n", lines.size() - kMaxListed);
  };
  list(outcome.problems, "");
  list(outcome.notes, "note: ");
  WriteOut(text);
}

Json Texts(const std::vector<std::string>& texts) {
  Json array = Json::Array();
  for (const std::string& text : texts) array.Push(text);
  return array;
}

Outcome ChecksumOutcome(const std::vector<ChecksumResult>& results) {
  Outcome outcome = {.name = "checksums", .summary = "", .problems = {}, .notes = {}};
  for (const ChecksumResult& result : results) {
    const Checksum& checksum = result.checksum;
    if (!result.problem.empty())
      outcome.problems.push_back(fmt::format("{}: {}", checksum.path, result.problem));
    else if (!result.IsRight())
      outcome.problems.push_back(fmt::format("{}: expected SHA-256 {}, as {} says, found {}",
                                             checksum.path, checksum.expected, checksum.source,
                                             result.found));
  }
  if (results.empty())
    outcome.summary =
        "none beside the files (looked for SHA256SUMS, FILE.sha256, notes of Hugging Face)";
  else
    outcome.summary = fmt::format("{} of {} as they should be",
                                  results.size() - outcome.problems.size(), results.size());
  outcome.figures.Set("checked", static_cast<uint64_t>(results.size()));
  return outcome;
}

Outcome ShapeOutcome(const Checkpoint& checkpoint, const LoadedModel& model) {
  Outcome outcome = {.name = "shapes", .summary = "", .problems = {}, .notes = model.notices};
  const auto tokenizer = OpenTokenizer(checkpoint);
  outcome.summary =
      fmt::format("{} tensors as the config asks, {}, {}", checkpoint.Names().size(),
                  CheckpointKindName(checkpoint.kind()),
                  tokenizer ? fmt::format("{} pieces of a tokenizer", tokenizer->vocab_size())
                            : "no tokenizer");
  outcome.figures.Set("tensors", static_cast<uint64_t>(checkpoint.Names().size()));
  return outcome;
}

Outcome WeightOutcome(const WeightReport& report) {
  Outcome outcome = {.name = "weights", .summary = "", .problems = {}, .notes = {}};
  int64_t n_nan = 0, n_inf = 0;
  float largest = 0;
  for (const WeightStats& stats : report.tensors) {
    n_nan += stats.n_nan;
    n_inf += stats.n_inf;
    largest = std::max(largest, stats.largest);
    if (stats.first_bad >= 0)
      outcome.problems.push_back(fmt::format("{}: {} NaN and {} Inf of {} values, the first at {}",
                                             stats.name, stats.n_nan, stats.n_inf, stats.n_values,
                                             stats.first_bad));
    else if (stats.largest == 0)
      outcome.notes.push_back(fmt::format("{}: all {} values are 0", stats.name, stats.n_values));
  }
  for (const std::string& name : report.skipped)
    outcome.notes.push_back(fmt::format("{}: integers, not looked at", name));
  outcome.summary =
      fmt::format("{} values, {} NaN, {} Inf, largest magnitude {:.4g}",
                  HumanCount(static_cast<uint64_t>(report.n_values)), n_nan, n_inf, largest);
  outcome.figures.Set("values", report.n_values).Set("nan", n_nan).Set("inf", n_inf);
  outcome.figures.Set("largest", static_cast<double>(largest));
  return outcome;
}

struct NormSummary {
  double mean = 0, max = 0;
};

NormSummary Summarise(const WeightReport& report, std::string_view matrix) {
  NormSummary summary;
  int64_t n = 0;
  for (const ExpertNorm& norm : report.experts) {
    if (norm.matrix != matrix) continue;
    summary.mean += norm.rms;
    summary.max = std::max(summary.max, norm.rms);
    ++n;
  }
  if (n > 0) summary.mean /= static_cast<double>(n);
  return summary;
}

Json NormsOf(const WeightReport& report) {
  Json norms = Json::Array();
  for (const ExpertNorm& norm : report.experts)
    norms.Push(Json::Object()
                   .Set("layer", norm.layer)
                   .Set("expert", norm.expert)
                   .Set("matrix", norm.matrix)
                   .Set("rms", norm.rms)
                   .Set("outlier", norm.IsOutlier()));
  return norms;
}

Outcome ExpertOutcome(const WeightReport& report) {
  Outcome outcome = {.name = "experts", .summary = "root mean square", .problems = {}, .notes = {}};
  for (const char* matrix : {"gate", "up", "down"}) {
    const NormSummary summary = Summarise(report, matrix);
    outcome.summary += fmt::format("{} of {} {:.4g} (largest {:.4g})",
                                   matrix == std::string_view("gate") ? "" : ",", matrix,
                                   summary.mean, summary.max);
  }
  for (const ExpertNorm& norm : report.experts)
    if (norm.IsOutlier())
      outcome.notes.push_back(
          fmt::format("layer {} expert {} {}: root mean square {:.4g} is {:.3g} times the median "
                      "of its layer",
                      norm.layer, norm.expert, norm.matrix, norm.rms, norm.ratio));
  for (const ExpertCopies& copies : report.copies)
    outcome.notes.push_back(
        fmt::format("layer {}: experts {} are copies of each other, as in an upcycled model",
                    copies.layer, JoinNumbers(copies.experts, ", ")));
  outcome.figures.Set("norms", NormsOf(report));
  return outcome;
}

Outcome KernelOutcome() {
  const char* problem = nullptr;
  const kernels::KernelTable* table = kernels::ActiveKernels(&problem);
  if (table == nullptr) Throw(ErrorCode::kInvalidArgument, "{}", problem);
  const auto checks = kernels::SelfCheck(*table, kernels::BuildTable(kernels::Isa::kScalar));
  Outcome outcome = {.name = "kernels", .summary = "", .problems = {}, .notes = {}};
  for (const kernels::SlotCheck& check : checks)
    if (!check.is_right)
      outcome.problems.push_back(
          fmt::format("{}: differs from the scalar kernel on this CPU", check.slot));
  outcome.summary = fmt::format("{} of {} slots of {} compute what the scalar ones do",
                                checks.size() - outcome.problems.size(), checks.size(),
                                kernels::IsaName(kernels::ActiveIsa()));
  outcome.figures.Set("isa", kernels::IsaName(kernels::ActiveIsa()));
  outcome.figures.Set("slots", static_cast<uint64_t>(checks.size()));
  return outcome;
}

struct VerifyFlags {
  PathFlags path;
  int threads = 0;
  bool json = false, quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("verify",
                     "Check a model: checksums beside its files, shapes, every weight a number, "
                     "norms of experts, copied experts; and this CPU's kernels.",
                     kExamples);
    path.AddTo(line, "A GGUF file, or a folder with safetensors");
    line.Int("-t,--threads", &threads, {1, 1024}, "Threads (default: the CPUs of this process)");
    line.Flag("--json", &json, "Print one JSON object");
    line.Flag("-q,--quiet", &quiet, "No progress on standard error");
    if (!line.Parse(arguments)) return false;
    if (threads == 0) threads = AvailableCpus();
    return true;
  }
};

class Verifier {
  /// fn with a callback that shows how far it is.
  template <class Fn>
  auto WithProgress(const std::string& what, const Fn& fn) const {
    Progress progress(what, "B");
    return fn([&](int64_t done, int64_t total) {
      if (!flags_.quiet) progress.Update(done, total);
    });
  }

 public:
  explicit Verifier(const VerifyFlags& flags) : flags_(flags) {}

  int Run() {
    const InterruptScope interrupt;
    const auto checksums = FindChecksums(flags_.path.path);
    const auto results = WithProgress("comparing checksums", [&](const auto& on_bytes) {
      return CompareChecksums(checksums, flags_.threads, on_bytes, interrupt.flag());
    });
    if (interrupt.interrupted()) return kExitInterrupted;
    // Before opening, as a damaged file may not open; without any there is nothing to say yet.
    if (!results.empty()) Take(ChecksumOutcome(results));
    const auto checkpoint = OpenCheckpoint(flags_.path.path);
    const auto backend = MakeCpuBackend(1, ComputeMode::kFast);
    const LoadedModel model = LoadModel(*checkpoint, backend.get());
    if (results.empty()) Take(ChecksumOutcome(results));
    Take(ShapeOutcome(*checkpoint, model));
    const WeightReport report = WithProgress("reading the weights", [&](const auto& on_bytes) {
      return ScanWeights(*checkpoint, model, flags_.threads, on_bytes, interrupt.flag());
    });
    if (report.was_cancelled) return kExitInterrupted;
    Take(WeightOutcome(report));
    if (model.config.n_experts > 0) Take(ExpertOutcome(report));
    Take(KernelOutcome());
    return Finish();
  }

 private:
  void Take(const Outcome& outcome) {
    n_problems_ += outcome.problems.size();
    if (!flags_.json) return PrintOutcome(outcome);
    Json check = outcome.figures;
    check.Set("ok", outcome.problems.empty())
        .Set("problems", Texts(outcome.problems))
        .Set("notes", Texts(outcome.notes));
    report_.Set(outcome.name, std::move(check));
  }

  int Finish() {
    if (flags_.json)
      WriteOut(report_.Set("path", flags_.path.path).Set("ok", n_problems_ == 0).Dump() + "\n");
    else if (n_problems_ == 0)
      WriteOut("result      ok\n");
    else
      WriteOut(fmt::format("result      {}: {} problem{}\n",
                           Coloured(Stream::kOut, Colour::kRed, "WRONG"), n_problems_,
                           n_problems_ == 1 ? "" : "s"));
    return n_problems_ == 0 ? kExitOk : kExitBadInput;
  }

  const VerifyFlags& flags_;
  size_t n_problems_ = 0;
  Json report_ = Json::Object();
};

}  // namespace

int VerifyCommand(Arguments arguments) {
  VerifyFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  return Verifier(flags).Run();
}

}  // namespace mixtral::cli
