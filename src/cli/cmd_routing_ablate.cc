// SPDX-License-Identifier: Apache-2.0
// mixtral routing ablate: perplexity of a text without each expert, and with 1 to 8 of them a
// token.
#include <algorithm>

#include "base/mapped_file.h"
#include "cli/cmd_routing.h"
#include "cli/common_flags.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "io/checkpoint.h"
#include "model/loader.h"
#include "observatory/ablation.h"

namespace mixtral::cli {
namespace {

struct AblateFlags {
  PathFlags path;
  ComputeFlags compute;
  std::optional<std::string> file, page;
  int64_t limit = 4096, context = 0;
  int max_k = 8;
  bool json = false, quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("routing ablate",
                     "Measures what experts are worth: perplexity of a text when no token may use "
                     "an expert, for each in turn, and with 1, 2, ... experts for every token "
                     "beside the speed of decoding with so many.",
                     "  mixtral routing ablate model.gguf -f text.txt\n"
                     "  mixtral routing ablate model.gguf -f text.txt --limit 20000 -o "
                     "ablation.html --json\n");
    path.AddTo(line, "A GGUF file, or a folder with safetensors");
    line.Text("-f,--file", &file, "TEXT", "The text ('-': standard input)");
    line.Int("--limit", &limit, {2, int64_t{1} << 40}, "Tokens at most (default 4096)");
    line.Int("--ctx", &context, {2, 1 << 24},
             "Tokens of a window, in which the text is cut (default: the context, at most 4096)");
    line.Int("--max-k", &max_k, {1, 256}, "Most experts per token to try (default 8)");
    line.Text("-o,--out", &page, "FILE", "Write tables and charts as one HTML file");
    line.Flag("--json", &json, "Print the report as one JSON object");
    line.Flag("-q,--quiet", &quiet, "No notes on standard error");
    compute.AddTo(line);
    if (!line.Parse(arguments)) return false;
    if (!file) ThrowUsage("routing ablate: expected -f TEXT, found none");
    return true;
  }
};

}  // namespace

int RoutingAblateCommand(Arguments arguments) {
  AblateFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  flags.path.Apply();
  const std::string text = ReadInput(*flags.file);
  EngineOptions options = flags.compute.ToEngineOptions();
  options.max_batch_tokens = options.max_logit_rows = observatory::TextRun::kRows;
  const ModelConfig config = ReadConfig(*OpenCheckpoint(flags.path.path)).config;
  options.max_experts_per_token =
      std::max(config.experts_per_token, std::min(flags.max_k, config.n_experts));
  Engine engine(flags.path.path, options);
  if (!flags.quiet) PrintNotices(engine.notices());
  const int64_t length = ChooseContext(engine.config(), flags.context);
  const auto windows = observatory::CutText(text, "text", engine.tokenizer(),
                                            {.length = length, .limit = flags.limit});
  for (const observatory::Window& window : windows)
    CheckPrompt(window.tokens, engine.config().vocab_size, length);
  Progress progress("measuring", "windows");
  const InterruptScope interrupt;
  const auto report =
      observatory::MakeAblationReport(&engine, flags.compute.KvType(), length, windows,
                                      {.max_k = flags.max_k,
                                       .cancelled = interrupt.flag(),
                                       .on_progress = [&](int64_t done, int64_t total) {
                                         if (!flags.quiet) progress.Update(done, total);
                                       }});
  progress.Clear();
  if (!report) return kExitInterrupted;
  if (flags.page) {
    const std::string page = observatory::AblationPage(*report);
    WriteFileAtomically(*flags.page, std::as_bytes(std::span(page)));
  }
  WriteOut(flags.json ? report->Dump() + "\n" : observatory::AblationReportText(*report));
  return kExitOk;
}

}  // namespace mixtral::cli
