// SPDX-License-Identifier: Apache-2.0
// mixtral compare: what a change of weights (quantisation, fine-tuning, pruning) does to
// predictions and to routing. Definitions are in docs/evaluation.md.
#include "cli/measure_commands.h"
#include "cli/model_source.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "eval/comparison_run.h"

namespace mixtral::cli {
namespace {

constexpr const char* kExamples =
    "  mixtral compare mixtral-8x7b/ mixtral-8x7b-q4_k.gguf -f book.txt --limit 50\n"
    "  mixtral compare base.gguf tuned.gguf -f heldout.jsonl --json";

struct CompareFlags {
  std::string base, other, log_level = "warn";
  TextSource texts;
  WindowFlags windows;
  ComputeFlags compute;
  int64_t context = 0;
  bool json = false, quiet = false;

  bool Parse(Arguments arguments) {
    CommandLine line("compare", "How far two checkpoints' predictions and routing are apart.",
                     kExamples);
    line.Required("BASE", &base, "A GGUF file, or a folder with safetensors");
    line.Required("OTHER", &other, "Another one with the same vocabulary");
    line.Choice("--log-level", &log_level, {"error", "warn", "info", "debug"},
                "What the library says on standard error (default warn)");
    texts.AddTo(line);
    line.Int("--ctx", &context, {1, 1 << 30},
             "Tokens of a window (default: what both have, at most 512)");
    windows.AddTo(line);
    line.Flag("--json", &json, "Print one JSON object");
    line.Flag("-q,--quiet", &quiet, "No notes and figures on standard error");
    compute.AddTo(line);
    if (!line.Parse(arguments)) return false;
    PathFlags log;
    log.log_level = log_level;
    log.Apply();
    return true;
  }
};

std::string Shown(const Json& row, std::string_view key, int digits = 4) {
  const auto value = row.Find(key);
  return value ? fmt::format("{:.{}f}", value->AsDouble(), digits) : "-";
}

std::string RoutingRow(const std::string& name, const Json& row) {
  return fmt::format("{:>6} {:>10} {:>11} {:>12} {:>9} {:>20}\n", name, Shown(row, "same_set"),
                     Shown(row, "same_first"), Shown(row, "weight_drift"), Shown(row, "near_ties"),
                     Shown(row, "changed_at_near_ties"));
}

std::string TextOf(const Json& report) {
  const Json predictions = report.At("predictions");
  const Json kl = predictions.At("kl"), base = predictions.At("base");
  const Json other = predictions.At("other");
  std::string text = fmt::format("tokens          {}\n", predictions.At("tokens").AsInt());
  text += fmt::format("perplexity      {} +/- {} (base), {} +/- {} (other)\n",
                      Shown(base, "perplexity"), Shown(base, "perplexity_stderr"),
                      Shown(other, "perplexity"), Shown(other, "perplexity_stderr"));
  text += fmt::format("other / base    {} +/- {}\n", Shown(predictions, "ratio", 6),
                      Shown(predictions, "ratio_stderr", 6));
  text += fmt::format(
      "KL divergence   {} +/- {} mean, {} median, {} 90 %, {} 99 %, {} 99.9 %, {} max\n",
      Shown(kl, "mean", 6), Shown(kl, "mean_stderr", 6), Shown(kl, "median", 6),
      Shown(kl, "p90", 6), Shown(kl, "p99", 6), Shown(kl, "p999", 6), Shown(kl, "max", 6));
  text += fmt::format("same top token  {} +/- {}\n", Shown(predictions, "same_top"),
                      Shown(predictions, "same_top_stderr"));
  const auto routing = report.Find("routing");
  if (!routing) return text + "routing         not compared: layers, experts or top-k differ\n";
  text += fmt::format("{:>6} {:>10} {:>11} {:>12} {:>9} {:>20}\n", "layer", "same set",
                      "same first", "weight drift", "near ties", "changed at near ties");
  const Json layers = routing->At("layers");
  for (size_t i = 0; i < layers.Size(); ++i) text += RoutingRow(std::to_string(i), layers.At(i));
  return text + RoutingRow("all", routing->At("all"));
}

/// false: interrupted.
bool Run(const CompareFlags& flags, const std::vector<SourceText>& texts,
         eval::ComparisonRun& run) {
  const Tokenizer& tokenizer = run.base().tokenizer();
  std::vector<eval::TokenWindow> windows;
  int64_t total = 0, done = 0;
  for (const SourceText& text : texts) {
    const std::vector<TokenId> tokens = tokenizer.Encode(text.text, AddBos::kYes);
    for (eval::TokenWindow& window : flags.windows.Cut(tokens, run.context())) {
      total += std::ssize(window.tokens) - 1;
      windows.push_back(std::move(window));
    }
  }
  if (windows.empty())
    Throw(ErrorCode::kInvalidArgument, "expected a text of at least one window, found none, in {}",
          texts.front().name);
  const InterruptScope interrupt;
  Progress progress("comparing");
  for (const eval::TokenWindow& window : windows) {
    const bool goes_on = run.Add(window, [&](int64_t n_rows) {
      done += n_rows;
      if (!flags.quiet) progress.Update(done, total);
      return !interrupt.interrupted();
    });
    if (!goes_on) return false;
  }
  return true;
}

}  // namespace

int CompareCommand(Arguments arguments) {
  CompareFlags flags;
  if (!flags.Parse(arguments)) return kExitOk;
  const std::vector<SourceText> texts = flags.texts.Read();
  eval::ComparisonRun run({.base_path = flags.base,
                           .other_path = flags.other,
                           .engine = flags.compute.ToEngineOptions(),
                           .kv_dtype = flags.compute.KvType(),
                           .context = flags.context});
  const auto start = std::chrono::steady_clock::now();
  if (!Run(flags, texts, run)) return kExitInterrupted;
  const double seconds = Seconds(std::chrono::steady_clock::now() - start);
  Json report = Json::Object().Set("base", flags.base).Set("other", flags.other);
  const Json results = run.ToJson();
  report.Set("context", run.context())
      .Set("predictions", results.At("predictions"))
      .Set("routing", results.Find("routing").value_or(Json()))
      .Set("seconds", seconds);
  WriteOut(flags.json ? report.Dump() + "\n" : TextOf(report));
  const int64_t n_tokens = results.At("predictions").At("tokens").AsInt();
  if (!flags.quiet)
    Note("{} tokens in {:.3f} s, {:.1f} tokens/s", n_tokens, seconds,
         PerSecond(static_cast<double>(n_tokens), seconds));
  return kExitOk;
}

}  // namespace mixtral::cli
