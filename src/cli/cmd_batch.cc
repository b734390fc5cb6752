// SPDX-License-Identifier: Apache-2.0
// mixtral batch: a file of requests -> a file of answers, by the server's own endpoints without a
// server. What is answered already is not computed again.
#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/strings.h"
#include "cli/batch_files.h"
#include "cli/chat_format.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/serve_command.h"
#include "server/offline.h"

namespace mixtral::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kExamples =
    "  echo '{\"prompt\": \"The capital of France is\", \"max_tokens\": 8}' > in.jsonl\n"
    "  mixtral batch in.jsonl out.jsonl model.gguf\n"
    "  mixtral batch in.jsonl out.jsonl model.gguf     # goes on where it was stopped";

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();
constexpr std::chrono::milliseconds kPatience(100);  // between looks at Ctrl-C

struct BatchFlags {
  std::string input, output;
  PathFlags path;
  ComputeFlags compute;
  ServiceOptions service;
  std::string format;
  int experts_per_token = 0, cache_mib = 0;
  int64_t seed = 0, max_tokens = -1;
  bool strict = false, json = false, quiet = false;

  bool Parse(Arguments arguments);
};

bool BatchFlags::Parse(Arguments arguments) {
  CommandLine line("batch", "Answer a file of requests, many at once.", kExamples);
  line.Required(
      "INPUT", &input,
      "Requests, one JSON object a line: {\"prompt\"}, {\"messages\"} or {\"input\"} with "
      "the fields of the server's API, or {\"custom_id\", \"url\", \"body\"}");
  line.Required("OUTPUT", &output,
                "Answers, one a line, each with its custom_id; lines that are there are kept and "
                "their requests skipped");
  path.AddTo(line, "A GGUF file, or a folder with safetensors");
  line.Int("-n,--max-tokens", &max_tokens, {0, kMaxInt},
           "For requests that name no limit (default: that of the endpoint)");
  line.Int("--seed", &seed, {0, kMaxInt},
           "For requests without a seed: this and the number of their line (default 0)");
  line.Flag("--strict", &strict, "End at once when a line is no request");
  line.Flag("--json", &json, "Print a summary as one JSON object");
  line.Flag("-q,--quiet", &quiet, "No notes and figures on standard error");
  AddChatFormat(line, &format);
  line.Group("Requests");
  line.Int("--ctx", &service.context, {1, kMaxInt},
           "Positions of a sequence (default: the model's, at most 4096)");
  line.Int("--max-running", &service.max_running, {1, 4096},
           "Sequences that are computed together (default 64)");
  line.Int("--cache-mib", &cache_mib, {0, 1 << 30},
           "Memory of keys and values in MiB (default: a quarter of what is free at most)");
  line.Int("--step-tokens", &service.step_tokens, {1, 1 << 20},
           "Rows of one forward step (default 512)");
  line.Int("--experts-per-token", &experts_per_token, {1, 256},
           "Most experts per token that requests may ask for (default: the model's)");
  compute.AddTo(line);
  if (!line.Parse(arguments)) return false;
  std::error_code ignored;
  if (std::filesystem::equivalent(input, output, ignored))
    ThrowUsage("batch: expected two files, found one for requests and answers: {}", input);
  service.cache_bytes = static_cast<size_t>(cache_mib) << 20;
  // Nobody waits for a first word here: prompts go as fast as they can.
  service.prefill_tokens = service.step_tokens;
  return true;
}

server::ModelOptions ToModelOptions(const BatchFlags& flags, int max_open) {
  server::ModelOptions model;
  model.path = flags.path.path;
  model.engine = EngineOptionsFor(flags.service, flags.compute.ToEngineOptions());
  model.engine.max_experts_per_token = flags.experts_per_token;
  model.service = flags.service;
  model.service.kv_dtype = flags.compute.KvType();
  model.service.max_queued = std::max(model.service.max_queued, max_open);
  model.service.max_queued_tokens = std::numeric_limits<int64_t>::max() / 2;
  model.names = {"batch"};
  model.make_chat = [&flags](const Engine& engine) -> std::optional<ChatTemplate> {
    if (flags.format == "none") return std::nullopt;
    return ChooseChat(flags.format, engine.tokenizer(), flags.path.path,
                      [&] { return engine.checkpoint().chat_template(); })
        .chat_template;
  };
  return model;
}

/// A request's body with what the command line says, and without the name of a model: there is one.
std::string CompleteBody(Json body, const BatchItem& item, const BatchFlags& flags) {
  body.Set("model", Json());
  if (!body.Find("seed")) body.Set("seed", flags.seed + item.line);
  if (flags.max_tokens >= 0 && !body.Find("max_tokens") && !body.Find("max_completion_tokens"))
    body.Set("max_tokens", flags.max_tokens);
  return body.Dump();
}

/// As OpenAI's batch files have it.
std::string AnswerLine(const BatchItem& item, const server::OfflineAnswer& answer) {
  Json response = Json::Object();
  response.Set("status_code", answer.status)
      .Set("request_id", fmt::format("line-{}", item.line))
      .Set("body", Json::Parse(answer.body, "the answer"));
  return Json::Object()
      .Set("id", fmt::format("batch_req_{}", item.line))
      .Set("custom_id", item.id)
      .Set("response", std::move(response))
      .Set("error", Json())
      .Dump();
}

struct Counts {
  int64_t answered = 0, refused = 0, skipped = 0;
  int64_t prompt_tokens = 0, completion_tokens = 0;
  bool interrupted = false;
};

class BatchRun {
 public:
  BatchRun(const BatchFlags& flags, const BatchInput& input, BatchOutput* output)
      : flags_(flags), bodies_(flags.input), output_(output) {
    for (const BatchItem& item : input.items)
      if (output->done().count(item.id) > 0)
        ++counts_.skipped;
      else
        items_.push_back(&item);
  }

  /// As many requests are open as keep the scheduler supplied.
  Counts Run(server::Offline& offline, size_t max_open, const InterruptScope& interrupt) {
    Progress progress("answering", "requests");
    size_t next = 0, n_open = 0;
    while ((next < items_.size() || n_open > 0) && !interrupt.interrupted()) {
      for (; next < items_.size() && n_open < max_open; ++next, ++n_open)
        offline.Submit(next, items_[next]->path,
                       CompleteBody(bodies_.Read(*items_[next]), *items_[next], flags_));
      while (const auto answer = offline.Next(kPatience)) {
        --n_open;
        Take(*answer);
        if (!flags_.quiet) progress.Update(counts_.answered + counts_.refused, std::ssize(items_));
        if (next < items_.size() || interrupt.interrupted()) break;
      }
    }
    counts_.interrupted = interrupt.interrupted();
    output_->Sync();
    return counts_;
  }

 private:
  /// Failures of ours (5xx) are not answers: the next run tries again.
  void Take(const server::OfflineAnswer& answer) {
    const BatchItem& item = *items_[answer.key];
    if (answer.status >= 500)
      Throw(ErrorCode::kInternal, "{} line {}: {}", flags_.input, item.line,
            Printable(answer.body, 500));
    output_->Append(AnswerLine(item, answer));
    ++(answer.status < 400 ? counts_.answered : counts_.refused);
    counts_.prompt_tokens += answer.prompt_tokens;
    counts_.completion_tokens += answer.completion_tokens;
  }

  const BatchFlags& flags_;
  BatchBodies bodies_;
  BatchOutput* output_;
  std::vector<const BatchItem*> items_;
  Counts counts_;
};

void PrintSummary(const BatchFlags& flags, const BatchInput& input, const Counts& counts,
                  const ServiceStats& stats, double seconds) {
  const double rate = PerSecond(static_cast<double>(counts.completion_tokens), seconds);
  if (flags.json)
    WriteOut(Json::Object()
                 .Set("output", flags.output)
                 .Set("answered", counts.answered)
                 .Set("refused", counts.refused)
                 .Set("skipped", counts.skipped)
                 .Set("bad_lines", input.n_bad)
                 .Set("interrupted", counts.interrupted)
                 .Set("prompt_tokens", counts.prompt_tokens)
                 .Set("cached_tokens", stats.prefix_hits_total)
                 .Set("completion_tokens", counts.completion_tokens)
                 .Set("seconds", seconds)
                 .Set("completion_tokens_per_s", rate)
                 .Set("steps", stats.steps_total)
                 .Set("preemptions", stats.preemptions_total)
                 .Dump() +
             "\n");
  if (flags.quiet) return;
  Note("{}: {} answered, {} refused, {} there already, {} bad lines", flags.output, counts.answered,
       counts.refused, counts.skipped, input.n_bad);
  Note("{} prompt and {} generated tokens in {:.3f} s, {:.1f} generated tokens/s",
       counts.prompt_tokens, counts.completion_tokens, seconds, rate);
}

/// Says what is wrong with the input, and ends for it with --strict.
void ReportProblems(const BatchFlags& flags, const BatchInput& input) {
  if (input.problems.empty()) return;
  if (flags.strict) Throw(ErrorCode::kCorrupt, "{}", input.problems.front());
  for (const std::string& problem : input.problems) Note("mixtral: {}", Printable(problem, 500));
  if (input.n_bad > std::ssize(input.problems))
    Note("mixtral: {}: {} more lines are no requests", flags.input,
         input.n_bad - std::ssize(input.problems));
}

}  // namespace

int BatchCommand(Arguments arguments) {
  BatchFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  const BatchInput input = ReadBatchInput(flags.input);
  ReportProblems(flags, input);
  BatchOutput output(flags.output);
  if (output.torn_bytes() > 0 && !flags.quiet)
    Note("{}: a last line of {} bytes was not complete and is answered again", flags.output,
         output.torn_bytes());
  BatchRun run(flags, input, &output);
  const int max_open = 2 * flags.service.max_running;
  server::Offline offline(ToModelOptions(flags, max_open), std::string(kVersion));
  if (!flags.quiet) PrintNotices(offline.model().engine.notices());
  const InterruptScope interrupt;
  const auto start = Clock::now();
  const Counts counts = run.Run(offline, static_cast<size_t>(max_open), interrupt);
  PrintSummary(flags, input, counts, offline.model().service.Stats(),
               Seconds(Clock::now() - start));
  return counts.interrupted ? kExitInterrupted : kExitOk;
}

}  // namespace mixtral::cli
