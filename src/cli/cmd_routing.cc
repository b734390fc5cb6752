// SPDX-License-Identifier: Apache-2.0
// mixtral routing: which expert gets which token. Records the routing of texts, or reads a trace
// that was recorded, and reports it as tables, JSON, CSV and one HTML page (docs/routing.md).
#include "cli/cmd_routing.h"

#include <algorithm>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/routing_file.h"
#include "observatory/routing_report.h"
#include "observatory/text_run.h"

namespace mixtral::cli {
namespace {

using observatory::Trace;
using observatory::Window;

constexpr Command kActions[] = {
    {"replay", "simulate expert caches and devices on a trace", &RoutingReplayCommand},
    {"ablate", "perplexity without each expert, and with 1 to 8 per token", &RoutingAblateCommand},
};

constexpr const char* kExamples =
    "  mixtral routing model.gguf -d en='en/*.txt' -d fr='fr/*.txt' -o report/\n"
    "  mixtral routing model.gguf -d all=heldout.jsonl --domain-field domain --json\n"
    "  mixtral routing model.gguf -d en=en.txt --against other.gguf -o report/\n"
    "  mixtral routing report/trace.mxroute\n"
    "  mixtral routing replay report/trace.mxroute";

struct RoutingFlags {
  PathFlags path;
  ComputeFlags compute;
  std::vector<std::string> data;
  std::optional<std::string> against, out, text_field, domain_field;
  int64_t limit = 0, context = 0, page_tokens = 400;
  int experts_per_token = 0;
  bool json = false, quiet = false;

  bool Parse(Arguments arguments) {
    std::string actions;
    for (const Command& action : kActions)
      actions += fmt::format("  {:<8}{}\n", action.name, action.help);
    CommandLine line("routing",
                     "Shows which expert gets which token: load by domain and layer, repetition "
                     "between consecutive tokens, entropy, experts chosen together, tokens of "
                     "experts, likeness of domains.\n\nActions, each with its own --help, in the "
                     "place of PATH:\n" +
                         actions,
                     kExamples);
    path.AddTo(line, "A model, or a trace that was recorded");
    line.TextList("-d,--data", &data, "DOMAIN=FILES",
                  "A domain's texts for a model: a file, a folder or a glob; may be repeated");
    line.Text("--domain-field", &domain_field, "NAME",
              "Rows of JSONL files say in this field which domain they are of");
    line.Text("--text-field", &text_field, "NAME", "The text of a JSONL row (default text)");
    line.Int("--limit", &limit, {2, int64_t{1} << 40}, "Tokens of a domain (default: all)");
    line.Int("--ctx", &context, {2, 1 << 24},
             "Tokens of a window, in which texts are cut (default: the context, at most 4096)");
    line.Int("--experts-per-token", &experts_per_token, {1, 256},
             "Experts per token (default: the model's)");
    line.Text("--against", &against, "PATH",
              "A second model, run on the same texts, or a second trace");
    line.Text("-o,--out", &out, "DIR",
              "Folder for routing.html, report.json, CSV files and, of a model, trace.mxroute");
    line.Int("--page-tokens", &page_tokens, {1, 100000},
             "Tokens of each domain that the page shows coloured (default 400)");
    line.Flag("--json", &json, "Print the report as one JSON object");
    line.Flag("-q,--quiet", &quiet, "No notes on standard error");
    compute.AddTo(line);
    return line.Parse(arguments);
  }
};

/// Records the texts to a file, so that an interrupted run leaves what it has.
bool Record(const RoutingFlags& flags, const std::string& model, const std::string& trace_path,
            std::vector<Window>* windows) {
  EngineOptions options = flags.compute.ToEngineOptions();
  options.max_batch_tokens = observatory::TextRun::kRows;
  options.max_experts_per_token = flags.experts_per_token;
  Engine engine(model, options);
  if (!flags.quiet) PrintNotices(engine.notices());
  RoutingFile file(trace_path, engine, flags.experts_per_token);
  const int64_t length = ChooseContext(engine.config(), flags.context);
  if (windows->empty())
    *windows = observatory::ReadWindows(data::ListInputs(flags.data), engine.tokenizer(),
                                        {.text_field = flags.text_field.value_or("text"),
                                         .domain_field = flags.domain_field.value_or(""),
                                         .length = length,
                                         .limit = flags.limit});
  int64_t total = 0, done = 0;
  for (const Window& window : *windows) {
    CheckPrompt(window.tokens, engine.config().vocab_size, length);
    total += std::ssize(window.tokens);
  }
  RoutingPolicy policy;
  policy.k = flags.experts_per_token;
  policy.Validate(engine.config().n_experts, engine.config().experts_per_token,
                  engine.transformer().options().max_k);
  observatory::TextRun run(&engine, flags.compute.KvType(), length);
  Progress progress("routing");
  const InterruptScope interrupt;
  for (const Window& window : *windows) {
    if (interrupt.interrupted()) break;
    run.Route(window, &policy, &file);
    file.EndSequence(window.domain);
    done += std::ssize(window.tokens);
    if (!flags.quiet) progress.Update(done, total);
  }
  progress.Clear();
  file.Finish();
  return !interrupt.interrupted();
}

void WriteText(const std::string& path, const std::string& text) {
  WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

void WriteFolder(const RoutingFlags& flags, const Trace& trace, const Json& report) {
  const std::string folder = *flags.out + "/";
  WriteText(folder + "report.json", report.Dump() + "\n");
  for (const auto& [name, csv] : observatory::RoutingCsv(report)) WriteText(folder + name, csv);
  WriteText(folder + "routing.html",
            observatory::RoutingPage(report, observatory::ColouredTexts(trace, flags.page_tokens)));
  if (!flags.quiet) Note("{}routing.html is the page, report.json its figures", folder);
}

/// A folder that goes when the command ends: traces that nobody asked to keep.
class ScratchFolder {
 public:
  ScratchFolder()
      : path_(std::filesystem::temp_directory_path() /
              fmt::format("mixtral-routing-{}", static_cast<const void*>(this))) {
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// The trace of path, or of what the model there does with windows; nullopt: interrupted.
std::optional<Trace> TraceOf(const RoutingFlags& flags, const std::string& path,
                             const std::string& keep_as, std::vector<Window>* windows) {
  if (observatory::IsTraceFile(path)) return observatory::ReadTrace(path);
  std::error_code ignored;
  const std::string_view actions[] = {kActions[0].name, kActions[1].name};
  if (!std::filesystem::exists(path, ignored))
    ThrowUsage("routing: expected a model, a trace or an action, found nothing at {}{}",
               Printable(path, 1000), DidYouMean(path, actions));
  if (flags.data.empty())
    ThrowUsage("routing: expected --data DOMAIN=FILES for a model, found none");
  const ScratchFolder scratch;
  const std::string file = keep_as.empty() ? scratch / "trace.mxroute" : keep_as;
  if (!Record(flags, path, file, windows)) return std::nullopt;
  return observatory::ReadTrace(file);
}

int Report(const RoutingFlags& flags) {
  std::error_code failed;
  if (flags.out) std::filesystem::create_directories(*flags.out, failed);
  if (failed)
    Throw(ErrorCode::kIo, "{}: expected a folder, found: {}", *flags.out, failed.message());
  std::vector<Window> windows;
  const auto trace =
      TraceOf(flags, flags.path.path, flags.out ? *flags.out + "/trace.mxroute" : "", &windows);
  if (!trace) return kExitInterrupted;
  if (trace->sequences.empty())
    Throw(ErrorCode::kInvalidArgument,
          "routing: expected a trace with tokens, found an empty one, in {}", flags.path.path);
  std::optional<Trace> against;
  if (flags.against) {
    const std::string keep_as = flags.out ? *flags.out + "/against.mxroute" : "";
    against = TraceOf(flags, *flags.against, keep_as, &windows);
    if (!against) return kExitInterrupted;
  }
  const Json report = observatory::MakeRoutingReport(*trace, against ? &*against : nullptr);
  if (flags.out) WriteFolder(flags, *trace, report);
  WriteOut(flags.json ? report.Dump() + "\n" : observatory::RoutingReportText(report));
  return kExitOk;
}

}  // namespace

int RoutingCommand(Arguments arguments) {
  if (!arguments.words.empty())
    for (const Command& action : kActions)
      if (action.name == arguments.words.front()) return action.run(arguments.subspan(1));
  RoutingFlags flags;
  if (!flags.Parse(arguments)) {
    DescribeActions(arguments, kActions);
    return kExitOk;
  }
  flags.path.Apply();
  return Report(flags);
}

}  // namespace mixtral::cli
